"""VGG16 (Simonyan and Zisserman 2015), and its features for precision and recall."""

import math
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np

from tfstylegan.metrics.detectors import files, images

WANTED = files.Wanted(
    names=("vgg16_weights_tf_dim_ordering_tf_kernels.h5",),
    publisher="Keras",
    url="https://storage.googleapis.com/tensorflow/keras-applications/vgg16/"
    "vgg16_weights_tf_dim_ordering_tf_kernels.h5",
    md5="64373286793e3c8b2b4e3219cbf3544b",  # in keras.applications.vgg16
)
DEPTHS = (2, 2, 3, 3, 3)  # convolutions of each stage
MEAN_BGR = (103.939, 116.779, 123.68)  # of the pixels it was trained on
BATCH = 32


def load(where: str | pathlib.Path | None = None, *, download: bool = True):
    """The `Vgg16` of Keras' weights; see `files.find`."""
    found = files.find(WANTED, where, download=download)
    try:
        layers = _layers(found.path)
        names = [
            f"block{b + 1}_conv{i + 1}" for b, n in enumerate(DEPTHS) for i in range(n)
        ]
        convs = [_pair(layers, name) for name in names]
        denses = [_pair(layers, name) for name in ("fc1", "fc2")]
        return Vgg16(convs, denses, found.manifest)
    except ValueError as error:
        raise ValueError(f"{found.path}: {error}") from error


class Vgg16:
    """Features [N, dims] of images: the second fully connected layer, after its ReLU.

    Images are resized to 224x224 (bilinear, smoothed where they shrink) and have the
    mean colour subtracted, in the order B, G, R.
    """

    name = "vgg16"

    def __init__(self, convs: Sequence, denses: Sequence, file: dict):
        import tensorflow as tf

        self._convs = constants(checked_convolutions(convs))
        self._side = _checked_denses(denses, convs[-1][1].size) << len(DEPTHS)
        self._denses = constants(denses)
        self._features = tf.function(self._compute, reduce_retracing=True)
        self.dims = denses[-1][1].size
        self.manifest = {
            "detector": self.name,
            "files": [file],
            "resize": f"bilinear to {self._side}x{self._side}, smoothed (antialias)",
            "features": "fc2, after its ReLU",
        }

    def features(self, pixels: np.ndarray) -> np.ndarray:
        """uint8 [N, H, W, C] to float32 [N, dims]."""
        return images.in_batches(self._features, images.pixels(pixels), size=BATCH)

    def _compute(self, pixels):
        import tensorflow as tf

        side = self._side
        x = tf.image.resize(pixels, [side, side], antialias=True)  # float32
        x = x[..., ::-1] - MEAN_BGR  # [N, side, side, 3]
        *_, x = stages(x, self._convs)
        x = tf.nn.max_pool2d(x, 2, 2, "VALID")  # [N, side / 32, side / 32, C]
        x = tf.reshape(x, [-1, math.prod(x.shape[1:])])  # in the order H, W, C
        for kernel, bias in self._denses:
            x = tf.nn.relu(x @ kernel + bias)  # [N, dims]
        return x


def stages(x, convs: Sequence) -> Iterator:
    """The last ReLU of each of the five stages [N, H, W, F], of x [N, H, W, 3]."""
    import tensorflow as tf

    convs = iter(convs)
    for stage, depth in enumerate(DEPTHS):
        if stage:
            x = tf.nn.max_pool2d(x, 2, 2, "VALID")
        for _ in range(depth):
            kernel, bias = next(convs)
            x = tf.nn.relu(tf.nn.conv2d(x, kernel, 1, "SAME") + bias)
        yield x


def constants(pairs: Sequence) -> list[tuple]:
    """(kernel, bias) as float32 tensors."""
    import tensorflow as tf

    return [tuple(tf.constant(a, tf.float32) for a in pair) for pair in pairs]


def checked_convolutions(convs: Sequence) -> Sequence:
    """13 pairs of kernel [3, 3, C, F] and bias [F], where each C is the last F."""
    channels = 3
    for i, (kernel, bias) in enumerate(convs):
        filters = bias.size
        fits = kernel.shape == (3, 3, channels, filters) and bias.shape == (filters,)
        if not filters or not fits:
            raise ValueError(
                f"kernel and bias of convolution {i + 1} must be [3, 3, {channels}, F] "
                f"and [F]; got {list(kernel.shape)} and {list(bias.shape)}"
            )
        channels = filters
    return convs


def _checked_denses(denses, channels):
    """Side of the last, pooled feature maps, which the first dense layer flattens."""
    rows = denses[0][0].shape[0]
    side = math.isqrt(rows // channels)
    width = side * side * channels
    for name, (kernel, bias) in zip(("fc1", "fc2"), denses, strict=True):
        if not width or kernel.shape != (width, bias.size) or bias.ndim != 1:
            raise ValueError(
                f"kernel and bias of {name} must be [{width}, F] and [F]; got "
                f"{list(kernel.shape)} and {list(bias.shape)}"
            )
        width = bias.size
    return side


def _layers(path):
    """{layer: its arrays} of a file of weights, in the layout of Keras 1 and 2."""
    import h5py

    try:
        with h5py.File(path) as file:
            if "layer_names" not in file.attrs:
                raise ValueError("it lacks layer_names, so is no such file of Keras'")
            return {
                name: [file[name][weight][()] for weight in _names(file[name])]
                for name in map(_text, file.attrs["layer_names"])
            }
    except (OSError, LookupError, RuntimeError, TypeError) as error:
        raise ValueError(f"it cannot be read as HDF5: {error}") from error


def _names(group):
    return map(_text, group.attrs["weight_names"])


def _text(name):
    return name.decode() if isinstance(name, bytes) else str(name)


def _pair(layers, name):
    """Kernel and bias of a layer; their sizes are checked where they are used."""
    arrays = layers.get(name, [])
    if [array.ndim for array in arrays] not in ([4, 1], [2, 1]):
        shapes = [list(array.shape) for array in arrays]
        raise ValueError(f"it must hold a kernel and a bias of {name}; got {shapes}")
    return arrays
