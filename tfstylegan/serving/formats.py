"""A generator in the formats of other runtimes: TFLite, ONNX, OpenVINO.

The graph is a function of z [N, Z], truncation_psi [1] and, of networks with labels,
labels [N, T]; it gives images, float32 [N, H, W, C], about -1 to 1, with the stored
noise. It has none of the checks of `signatures`, which are operations that few runtimes
know. Each converter is imported when it is used.
"""

import importlib.util
import pathlib
import tempfile

import numpy as np
import tensorflow as tf

from tfstylegan import ops
from tfstylegan.networks import generator as generator_lib
from tfstylegan.networks import inference_blocks

OPSET = 18  # of ONNX


def graph(networks):
    """(tf.function of the generator G_ema, module that owns its variables)."""
    generator = networks.G_ema.in_float32()
    mapping, w_avg = generator.mapping, generator.w_avg
    synthesis = inference_blocks.fold(generator.synthesis)
    _, cutoff = networks.config.generator.truncation()

    def images(z, truncation_psi, labels=None):
        ws = mapping(z, labels)  # [N, L, D]
        ws = generator_lib.truncate(ws, w_avg, truncation_psi, cutoff)
        return {"images": tf.cast(synthesis(ws, noise_mode="const"), tf.float32)}

    specs = [
        tf.TensorSpec([None, mapping.z_dim], tf.float32, "z"),
        tf.TensorSpec([1], tf.float32, "truncation_psi"),
    ]
    if mapping.label_dim:
        specs.append(tf.TensorSpec([None, mapping.label_dim], tf.float32, "labels"))
    module = tf.Module()
    owned = [*mapping.variables, w_avg, *synthesis.variables]
    module.weights = [variable.value for variable in owned]
    return tf.function(images, input_signature=specs, autograph=False), module


class Tflite:
    """One file, for TensorFlow's own interpreter and LiteRT's."""

    endings = (".tflite",)
    packages = ()

    def convert(self, function, module):
        """[content of the file with each of the `endings`]"""
        concrete = [function.get_concrete_function()]
        converter = tf.lite.TFLiteConverter.from_concrete_functions(concrete, module)
        return [converter.convert()]

    def images(self, contents, inputs):
        """What the runtime makes of `inputs` {name: array}."""
        interpreter = tf.lite.Interpreter(model_content=contents[0])
        return interpreter.get_signature_runner()(**inputs)["images"]


class Onnx:
    """One file."""

    endings = (".onnx",)
    packages = ("tf2onnx", "onnxruntime")

    def convert(self, function, module):
        import tf2onnx

        del module
        proto, _ = tf2onnx.convert.from_function(
            function, input_signature=function.input_signature, opset=OPSET
        )
        return [proto.SerializeToString()]

    def images(self, contents, inputs):
        import onnxruntime

        providers = ["CPUExecutionProvider"]
        session = onnxruntime.InferenceSession(contents[0], providers=providers)
        return session.run(["images"], inputs)[0]


class Openvino:
    """The graph and, in a second file, its weights.

    Read from ONNX: of a SavedModel OpenVINO refuses filters with paddings of their own.
    """

    endings = (".xml", ".bin")
    packages = ("tf2onnx", "openvino")

    def convert(self, function, module):
        import openvino

        (onnx,) = Onnx().convert(function, module)
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "model.onnx"
            path.write_bytes(onnx)
            model = openvino.Core().read_model(path)
            path = path.with_suffix(".xml")
            openvino.save_model(model, path, compress_to_fp16=False)
            return [path.with_suffix(ending).read_bytes() for ending in self.endings]

    def images(self, contents, inputs):
        import openvino

        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "model.xml"
            for ending, content in zip(self.endings, contents, strict=True):
                path.with_suffix(ending).write_bytes(content)
            # A processor with bfloat16 would compute in it.
            options = {"INFERENCE_PRECISION_HINT": "f32"}
            model = openvino.Core().compile_model(path, "CPU", options)
            return model(inputs)["images"]


FORMATS = {kind.endings[0]: kind() for kind in (Tflite, Onnx, Openvino)}


def missing(kind):
    """Packages of a format that are not installed."""
    return [name for name in kind.packages if importlib.util.find_spec(name) is None]


def convert(networks, kind):
    """(contents of the files of a format, its largest error).

    The error is that of the runtime's images beside those of the network itself, by the
    largest value of these; for three images, two psi.
    """
    with ops.implementation("reference", target="any"):
        contents = kind.convert(*graph(networks))
    generator = networks.G_ema.in_float32()
    _, cutoff = networks.config.generator.truncation()
    numbers, errors = np.random.default_rng(0), []
    for psi in (1.0, 0.5):
        z = numbers.normal(size=[3, generator.mapping.z_dim]).astype(np.float32)
        inputs = {"z": z, "truncation_psi": np.float32([psi])}
        if generator.mapping.label_dim:
            classes = numbers.integers(generator.mapping.label_dim, size=3)
            inputs["labels"] = np.eye(generator.mapping.label_dim, dtype="f")[classes]
        expected = generator(
            z,
            inputs.get("labels"),
            truncation_psi=psi,
            truncation_cutoff=cutoff,
            noise_mode="const",
        ).numpy()
        difference = np.abs(kind.images(contents, inputs) - expected)
        errors.append(difference.max() / np.abs(expected).max())
    return contents, max(errors)
