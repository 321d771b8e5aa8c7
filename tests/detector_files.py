"""Small files of the structure of those that detectors are read from."""

import hashlib
import io
import struct
import zipfile

import numpy as np
import pickle_pieces as p
import tensorflow as tf

PRODUCER = 8  # version of graphs of 2015; batch normalisation as theirs ended with 9
SIDE = 19  # of the images that the graph below looks at, instead of 299


def inception_graph(side=SIDE, widths=(4, 6), classes=5, seed=0):
    """(GraphDef with the nodes of inception-2015-12-05, its weights by node name).

    One convolution, a mixed block of two, pool_3 and softmax instead of all of them.
    """
    graph = Graph(seed)
    graph.add("DecodeJpeg/contents", "Placeholder", dtype=tf.string)
    graph.add("DecodeJpeg", "DecodeJpeg", ["DecodeJpeg/contents"], channels=3)
    graph.add("Cast", "Cast", ["DecodeJpeg"], SrcT=tf.uint8, DstT=tf.float32)
    graph.constant("ExpandDims/dim", np.int32(0))
    graph.add("ExpandDims", "ExpandDims", ["Cast", "ExpandDims/dim"], T=tf.float32)
    graph.constant("ResizeBilinear/size", np.int32([side, side]))
    inputs = ["ExpandDims", "ResizeBilinear/size"]
    graph.add("ResizeBilinear", "ResizeBilinear", inputs, T=tf.float32)
    graph.constant("Sub/y", np.float32(128))
    graph.add("Sub", "Sub", ["ResizeBilinear", "Sub/y"], T=tf.float32)
    graph.constant("Mul/y", np.float32(1 / 128))
    graph.add("Mul", "Mul", ["Sub", "Mul/y"], T=tf.float32)
    graph.conv("conv", "Mul", [3, 3, 3, widths[0]], stride=2)
    for tower in ("mixed/conv", "mixed/tower/conv"):
        graph.conv(tower, "conv", [1, 1, widths[0], widths[1] // 2], stride=1)
    graph.constant("mixed/join/concat_dim", np.int32(3))
    inputs = ["mixed/join/concat_dim", "mixed/conv", "mixed/tower/conv"]
    graph.add("mixed/join", "Concat", inputs, T=tf.float32, N=2)
    rest = (side - 3) // 2 + 1
    window = {"ksize": [1, rest, rest, 1], "strides": [1, 1, 1, 1]}
    graph.add(
        "pool_3", "AvgPool", ["mixed/join"], T=tf.float32, padding=b"VALID", **window
    )
    graph.constant("pool_3/_reshape/shape", np.int32([1, widths[1]]))
    inputs = ["pool_3", "pool_3/_reshape/shape"]
    graph.add("pool_3/_reshape", "Reshape", inputs, T=tf.float32)
    graph.constant("softmax/weights", graph.draw([widths[1], classes]))
    graph.constant("softmax/biases", graph.draw([classes]))
    inputs = ["pool_3/_reshape", "softmax/weights"]
    graph.add("softmax/logits/MatMul", "MatMul", inputs, T=tf.float32)
    inputs = ["softmax/logits/MatMul", "softmax/biases"]
    graph.add("softmax/logits", "BiasAdd", inputs, T=tf.float32)
    graph.add("softmax", "Softmax", ["softmax/logits"], T=tf.float32)
    return graph.definition, graph.constants


class Graph:
    """A GraphDef that is written node by node."""

    def __init__(self, seed):
        self.definition = tf.compat.v1.GraphDef()
        self.definition.versions.producer = PRODUCER
        self.constants = {}
        self.random = np.random.RandomState(seed)

    def draw(self, shape):
        return self.random.randn(*shape).astype(np.float32)

    def add(self, name, op, inputs=(), **attributes):
        node = self.definition.node.add(name=name, op=op, input=inputs)
        for key, value in attributes.items():
            attribute = node.attr[key]
            if isinstance(value, tf.DType):
                attribute.type = value.as_datatype_enum
            elif isinstance(value, (np.ndarray, np.generic)):
                attribute.tensor.CopyFrom(tf.make_tensor_proto(value))
            elif isinstance(value, list):
                attribute.list.i.extend(value)
            else:
                field = {bytes: "s", bool: "b", int: "i", float: "f"}[type(value)]
                setattr(attribute, field, value)

    def constant(self, name, value):
        self.constants[name] = value
        self.add(name, "Const", dtype=tf.as_dtype(value.dtype), value=value)

    def conv(self, name, source, shape, stride):
        """Convolution, batch normalisation, a check, ReLU, as in 2015."""
        self.constant(f"{name}/conv2d_params", self.draw(shape))
        inputs = [source, f"{name}/conv2d_params"]
        strides = {"strides": [1, stride, stride, 1], "padding": b"VALID"}
        self.add(f"{name}/Conv2D", "Conv2D", inputs, T=tf.float32, **strides)
        inputs = [f"{name}/Conv2D"]
        for part in ("moving_mean", "moving_variance", "beta", "gamma"):
            value = self.draw(shape[-1:])
            value = np.abs(value) + 0.5 if part == "moving_variance" else value
            self.constant(f"{name}/batchnorm/{part}", value)
            inputs.append(f"{name}/batchnorm/{part}")
        self.add(
            f"{name}/batchnorm",
            "BatchNormWithGlobalNormalization",
            inputs,
            T=tf.float32,
            variance_epsilon=0.001,
            scale_after_normalization=False,
        )
        check = f"{name}/CheckNumerics"
        inputs = [f"{name}/batchnorm"]
        self.add(check, "CheckNumerics", inputs, T=tf.float32, message=b"numbers")
        inputs = [f"{name}/batchnorm", f"^{check}"]
        self.add(f"{name}/control_dependency", "Identity", inputs, T=tf.float32)
        self.add(name, "Relu", [f"{name}/control_dependency"], T=tf.float32)


def state_dict(arrays, storages, *, rebuild="_rebuild_tensor_v2"):
    """{name: float32 array} as torch pickles it, before the numbers themselves."""
    tensors = {}
    for key, (name, array) in zip(storages, arrays.items(), strict=True):
        strides = tuple(step // 4 for step in np.zeros(array.shape, "f4").strides)
        view = (p.storage_id(array.size, key=key), 0, array.shape, strides)
        if rebuild == "_rebuild_tensor_v2":
            view += (False, p.call("collections", "OrderedDict"))
        tensors[name] = p.call("torch._utils", rebuild, *view)
    pairs = b"".join(p.encode(name) + tensor for name, tensor in tensors.items())
    return p.Code(p.call("collections", "OrderedDict") + b"(" + pairs + b"u")


def torch_stream(arrays, **options):
    """A state dict as PyTorch wrote it until 1.5: pickles, then the numbers."""
    keys = [str(94_000 + i) for i in range(len(arrays))]
    system = {"protocol_version": 1001, "little_endian": True}
    system["type_sizes"] = {"short": 2, "int": 4, "long": 4}
    values = [p.MAGIC_NUMBER, 1001, system, state_dict(arrays, keys, **options), keys]
    numbers = b"".join(
        struct.pack("<q", array.size) + array.astype("<f4").tobytes()
        for array in arrays.values()
    )
    return b"".join(map(p.file, values)) + numbers


def torch_archive(arrays, **options):
    """A state dict as PyTorch writes it since 1.6: a zip archive."""
    target, keys = io.BytesIO(), [str(i) for i in range(len(arrays))]
    members = {"data.pkl": p.file(state_dict(arrays, keys, **options))}
    for key, array in zip(keys, arrays.values()):
        members[f"data/{key}"] = array.astype("<f4").tobytes()
    members["version"] = b"3\n"
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(f"vgg/{name}"), content)
    return target.getvalue()


def vgg16_convolutions(widths, seed=0):
    """13 pairs of kernel [3, 3, C, F] and bias [F]; `widths` of the five stages."""
    random, channels, pairs = np.random.RandomState(seed), 3, []
    for width, depth in zip(widths, (2, 2, 3, 3, 3), strict=True):
        for _ in range(depth):
            scale = np.sqrt(2 / (9 * channels))
            kernel = random.randn(3, 3, channels, width) * scale
            pairs.append((kernel.astype("f4"), random.randn(width).astype("f4") / 10))
            channels = width
    return pairs


def max_pooled(x):
    """Largest of each 2x2 square of x [N, H, W, C]."""
    n, h, w, c = x.shape
    return x.reshape(n, h // 2, 2, w // 2, 2, c).max(axis=(2, 4))


def classifier(variables, arguments):
    """A pickle of one TensorFlow discriminator on its own."""
    values = [
        (name, p.array(value.shape, np.asarray(value, "<f4").tobytes()))
        for name, value in variables.items()
    ]
    return p.file(
        p.network(
            version=3,
            name="classifier",
            build_func_name="D_basic",
            static_kwargs=arguments,
            variables=values,
        )
    )


def sums(folder):
    """`folder`, with a SHA256SUMS that lets its files pass for the published ones."""
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"
        for path in sorted(folder.iterdir())
    ]
    (folder / "SHA256SUMS").write_text("".join(lines))
    return folder
