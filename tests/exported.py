"""Small networks, their exports, and the program that serves them without Python."""

import dataclasses
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

from tfstylegan import config as config_lib
from tfstylegan import sampling
from tfstylegan.networks import build, storage
from tfstylegan.serving import saving, warmup

ROOT = pathlib.Path(__file__).parents[1]
RUNNER = pathlib.Path(__file__).with_name("saved_model_runner.cc")
Z_DIM, W_DIM = 12, 16
CASES = {
    "skip": {"architecture": "skip"},
    "resnet_labels_4x6": {
        "architecture": "resnet",
        "label_dim": 10,
        "base_grid": (4, 6),
        "channels": 1,
    },
    "stylegan1": {
        "architecture": "growing",
        "block": "adain",
        "resample_kernel": (1, 2, 1),
    },
}


def config_of(*, resolution=16, base_grid=(4, 4), channels=3, fmap_max=16, **generator):
    """Configuration of small networks."""
    config = config_lib.Config()
    config.data = dataclasses.replace(
        config.data, resolution=resolution, base_grid=base_grid, channels=channels
    )
    config.generator = dataclasses.replace(
        config.generator,
        **generator,
        z_dim=Z_DIM,
        w_dim=W_DIM,
        mapping_layers=2,
        fmap_base=4 * fmap_max,
        fmap_max=fmap_max,
    )
    config.discriminator = dataclasses.replace(
        config.discriminator, fmap_base=64, fmap_max=16, mapping_layers=1
    )
    return config.validate()


def networks_of(*, label_dim=0, discriminator=False, **options):
    """A small G_ema in which biases, noise and w_avg count as in a trained one."""
    config = config_of(**options)
    generator = build.build_generator(config, label_dim)
    numbers = np.random.default_rng(1)
    for variable in generator.variables:
        if variable.path.endswith(("bias", "strength", "w_avg")):
            variable.assign_add(0.3 * numbers.normal(size=variable.shape))
        elif "to_rgb/conv/kernel" in variable.path:
            variable.assign(0.3 * variable)  # few pixels beyond black and white
    d = build.build_discriminator(config, label_dim) if discriminator else None
    return storage.Networks(G=None, D=d, G_ema=generator, config=config)


@dataclasses.dataclass
class Exported:
    """Networks and what was exported of them."""

    networks: storage.Networks
    path: pathlib.Path

    def __post_init__(self):
        self.generator = self.networks.G_ema
        self.label_dim = self.generator.mapping.label_dim
        self._loaded = None

    def inputs(self, count, seed=0, **others):
        """z, the labels where there are, and `others`, of `count` images."""
        numbers = np.random.default_rng(seed)
        z = numbers.normal(size=[count, Z_DIM]).astype(np.float32)
        return {"z": z, **self.labels(count, seed), **others}

    def labels(self, count, seed=0):
        if not self.label_dim:
            return {}
        classes = np.random.default_rng(seed).integers(self.label_dim, size=count)
        return {"labels": np.eye(self.label_dim, dtype=np.float32)[classes]}

    def keras(self, inputs, **options):
        """What the network itself makes of z and labels, float32 [N, H, W, C]."""
        options = {"noise_mode": "const", **options}
        with tf.device("CPU:0"):  # where the other process runs
            images = self.generator(inputs["z"], inputs.get("labels"), **options)
        return images.numpy()

    def ask(self, signature, **given):
        """The only output of a signature of the loaded model."""
        if self._loaded is None:
            self._loaded = tf.saved_model.load(str(self.path))
        call = self._loaded.signatures[signature]
        kinds = call.structured_input_signature[1]
        given = {name: tf.constant(x, kinds[name].dtype) for name, x in given.items()}
        (output,) = call(
            **(saving.default_inputs(self.path, signature) | given)
        ).values()
        return output.numpy()


def assert_same_images(actual, expected):
    """uint8 images equal floats, but for levels where one fell beside a step."""
    expected = sampling.to_uint8(expected)
    assert actual.dtype == np.uint8
    assert actual.shape == expected.shape
    if not expected.size:
        return
    assert expected.std() > 5  # there is a picture to compare
    difference = np.abs(actual.astype(int) - expected)
    assert difference.max() <= 1
    assert np.mean(difference > 0) < 1e-3


def graph_nodes(path):
    """The meta graph, and every node of the graph and of its function library."""
    meta_graph = saving.read(path).meta_graphs[0]
    nodes = list(meta_graph.graph_def.node)
    for function in meta_graph.graph_def.library.function:
        nodes += function.node_def
    return meta_graph, nodes


def contents(path):
    """{file's name: its bytes} of all files of a folder."""
    return {
        str(file.relative_to(path)): file.read_bytes()
        for file in sorted(path.rglob("*"))
        if file.is_file()
    }


def run(command, **options):
    """A process without GPU; (exit code, stdout, stderr)."""
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "2"}
    env |= {"PYTHONPATH": options.pop("pythonpath", ""), **options.pop("variables", {})}
    done = subprocess.run(
        [str(part) for part in command],
        env=env,
        capture_output=True,
        text=True,
        **options,
    )
    return done.returncode, done.stdout, done.stderr


def run_export(*arguments, **variables):
    """The command, with these environment variables."""
    command = [sys.executable, "-m", "tfstylegan.export", *arguments]
    return run(command, cwd=ROOT, pythonpath=str(ROOT), variables=variables)


def build_runner(folder):
    """Path of the C++ program, compiled against the TensorFlow that is installed."""
    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None:
        pytest.skip(f"there is no C++ compiler ({compiler})")
    program = folder / "saved_model_runner"
    library = tf.sysconfig.get_lib()
    command = [
        *(compiler, "-w", *tf.sysconfig.get_compile_flags(), "-std=c++17"),
        *(str(RUNNER), "-o", str(program), f"-L{library}", f"-Wl,-rpath,{library}"),
        *("-Wl,--no-as-needed", "-l:libtensorflow_cc.so.2"),
        "-l:libtensorflow_framework.so.2",
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return program


def served(runner, path, requests, folder, *options):
    """(answers, lines on stdout) of the C++ program to (signature, inputs) pairs.

    An answer is an output, a NumPy array, or the message of an error.
    """
    warmup.write(folder / "requests", requests)
    return replayed(runner, path, folder / "requests", folder / "answers", *options)


def replayed(runner, path, requests, answers, *options):
    """As `served`, of a file of requests."""
    code, out, err = run([runner, path, requests, answers, *options])
    assert code == 0, err
    records = [
        tf.make_ndarray(tensor_pb2.TensorProto.FromString(record.numpy()))
        for record in tf.data.TFRecordDataset(str(answers))
    ]
    return [
        x.item().decode() if x.shape == () else x for x in records
    ], out.splitlines()
