"""Export: a SavedModel that stock TensorFlow runs, from C++ too, as Keras does."""

import collections
import dataclasses
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from tfstylegan import config as config_lib
from tfstylegan import export, ops, sampling
from tfstylegan.networks import build, storage

ROOT = pathlib.Path(__file__).parents[1]
RUNNER = pathlib.Path(__file__).with_name("saved_model_runner.cc")
CASES = {
    "skip": {"architecture": "skip"},
    "resnet_labels_4x6": {
        "architecture": "resnet",
        "label_dim": 10,
        "base_grid": (4, 6),
        "channels": 1,
    },
    "orig_ada_labels": {"architecture": "orig", "label_dim": 3, "conditioning": "ada"},
}
Z_DIM, W_DIM = 12, 16


@dataclasses.dataclass
class Exported:
    """A generator and what was exported of it."""

    networks: storage.Networks
    path: pathlib.Path

    @property
    def generator(self):
        return self.networks.G_ema

    @property
    def label_dim(self):
        return self.generator.mapping.label_dim

    def inputs(self, count, psi, seed=0):
        """Inputs of `serving_default` for `count` images."""
        numbers = np.random.default_rng(seed)
        inputs = {
            "z": numbers.normal(size=[count, Z_DIM]).astype(np.float32),
            "truncation_psi": np.float32(psi),
        }
        if self.label_dim:
            classes = numbers.integers(self.label_dim, size=count)
            inputs["labels"] = np.eye(self.label_dim, dtype=np.float32)[classes]
        return inputs

    def keras_images(self, inputs):
        """What the network itself makes of them, uint8 [N, H, W, C]."""
        with tf.device("CPU:0"):  # where the other process runs
            images = self.generator(
                inputs["z"],
                inputs.get("labels"),
                truncation_psi=float(inputs["truncation_psi"]),
                noise_mode="const",
            )
        return sampling.to_uint8(images)

    def signature(self, name):
        """Signature of the loaded model, called with NumPy arrays."""
        model = tf.saved_model.load(str(self.path))

        def call(**inputs):
            inputs = {k: tf.constant(v, tf.float32) for k, v in inputs.items()}
            (output,) = model.signatures[name](**inputs).values()
            return output.numpy()

        return call


def networks_of(architecture, *, label_dim=0, conditioning="stylegan2", **data):
    """A small G_ema in which biases, noise and w_avg count as in a trained one."""
    config = config_lib.Config()
    config.data = dataclasses.replace(config.data, resolution=16, **data)
    config.generator = dataclasses.replace(
        config.generator,
        architecture=architecture,
        conditioning=conditioning,
        z_dim=Z_DIM,
        w_dim=W_DIM,
        mapping_layers=2,
        fmap_base=64,
        fmap_max=16,
    )
    generator = build.build_generator(config.validate(), label_dim)
    numbers = np.random.default_rng(1)
    for variable in generator.variables:
        if variable.path.endswith(("bias", "strength", "w_avg")):
            variable.assign_add(0.3 * numbers.normal(size=variable.shape))
        elif "to_rgb/conv/kernel" in variable.path:
            variable.assign(0.3 * variable)  # few pixels beyond black and white
    return storage.Networks(G=None, D=None, G_ema=generator, config=config)


@pytest.fixture(scope="module", params=CASES)
def exported(request, tmp_path_factory):
    networks = networks_of(**CASES[request.param])
    path = export.export_saved_model(networks, tmp_path_factory.mktemp("export"))
    return Exported(networks, path)


@pytest.fixture(scope="module")
def runner(tmp_path_factory):
    """The C++ program, compiled against the TensorFlow that is installed."""
    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None:
        pytest.skip(f"there is no C++ compiler ({compiler})")
    program = tmp_path_factory.mktemp("runner") / "saved_model_runner"
    folder = tf.sysconfig.get_lib()
    command = [
        *(compiler, "-w", *tf.sysconfig.get_compile_flags(), "-std=c++17"),
        *(str(RUNNER), "-o", str(program), f"-L{folder}", f"-Wl,-rpath,{folder}"),
        *("-Wl,--no-as-needed", "-l:libtensorflow_cc.so.2"),
        "-l:libtensorflow_framework.so.2",
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return program


def run(command, **options):
    """A process without GPU; (exit code, stdout, stderr)."""
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "2"}
    env["PYTHONPATH"] = options.pop("pythonpath", "")
    done = subprocess.run(
        [str(part) for part in command],
        env=env,
        capture_output=True,
        text=True,
        **options,
    )
    return done.returncode, done.stdout, done.stderr


def run_export(*arguments):
    command = [sys.executable, "-m", "tfstylegan.export", *arguments]
    return run(command, cwd=ROOT, pythonpath=str(ROOT))


def assert_same_images(actual, expected):
    """Equal, but for single levels where a float fell on the other side of a step."""
    assert actual.dtype == np.uint8
    assert actual.shape == expected.shape
    if not expected.size:
        return
    assert expected.std() > 20  # there is a picture to compare
    difference = np.abs(actual.astype(int) - expected)
    assert difference.max() <= 1
    assert np.mean(difference > 0) < 1e-3


def write_requests(path, requests):
    """The format that saved_model_runner.cc describes."""
    with path.open("wb") as file:
        for inputs in requests:
            labels = inputs.get("labels", np.zeros([len(inputs["z"]), 0], np.float32))
            shape = [*inputs["z"].shape, labels.shape[1]]
            file.write(np.array(shape, np.int32).tobytes())
            file.write(inputs["truncation_psi"].tobytes())
            file.write(inputs["z"].tobytes() + labels.tobytes())


def read_answers(path):
    data = path.read_bytes()
    while data:
        shape = np.frombuffer(data, np.int32, 4)
        end = 16 + int(np.prod(shape))
        yield np.frombuffer(data[16:end], np.uint8).reshape(shape)
        data = data[end:]


def graph_nodes(path):
    """Every node of the graph and of its function library."""
    model = saved_model_pb2.SavedModel.FromString(
        (path / "saved_model.pb").read_bytes()
    )
    graph = model.meta_graphs[0].graph_def
    nodes = list(graph.node)
    for function in graph.library.function:
        nodes += function.node_def
    return model.meta_graphs[0], nodes


# Served without Python


def test_export_runs_in_cpp_as_in_keras(exported, runner, tmp_path):
    requests = [
        exported.inputs(1, psi=1.0, seed=1),
        exported.inputs(6, psi=0.6, seed=2),
        exported.inputs(0, psi=0.6),
    ]
    write_requests(tmp_path / "requests", requests)
    code, out, err = run(
        [runner, exported.path, tmp_path / "requests", tmp_path / "images"]
    )
    assert code == 0, err
    assert [line.split(":")[0] for line in out.splitlines()] == [
        f"{n} images" for n in (1, 6, 0)
    ]
    answers = list(read_answers(tmp_path / "images"))
    height, width = exported.networks.config.data.image_size
    assert answers[2].shape == (0, height, width, exported.generator.synthesis.channels)
    for answer, inputs in zip(answers[:2], requests[:2], strict=True):
        assert_same_images(answer, exported.keras_images(inputs))


def test_export_command_makes_what_loads_without_this_package(tmp_path):
    exported = Exported(networks_of("skip", label_dim=2), tmp_path / "out" / "1")
    storage.save_networks(tmp_path / "model", exported.networks)
    code, out, err = run_export(f"--model={tmp_path}/model", f"--outdir={tmp_path}/out")
    assert code == 0, err
    assert f"SavedModel: {exported.path}\n" in out
    assert f"-v {tmp_path}/out:/models/" in out
    assert len(out.splitlines()) == 2

    inputs = exported.inputs(4, psi=0.8)
    np.savez(tmp_path / "inputs.npz", **inputs)
    program = (
        "import sys, numpy as np, tensorflow as tf\n"
        "model = tf.saved_model.load(sys.argv[1])\n"
        "inputs = {k: tf.constant(v) for k, v in np.load(sys.argv[2]).items()}\n"
        "outputs = model.signatures['serving_default'](**inputs)\n"
        "np.save(sys.argv[3], outputs['images'].numpy())\n"
        "sys.exit('tfstylegan' in sys.modules)\n"
    )
    files = (exported.path, tmp_path / "inputs.npz", tmp_path / "images.npy")
    code, _, err = run([sys.executable, "-c", program, *files], cwd=tmp_path)
    assert code == 0, err
    images = np.load(tmp_path / "images.npy")
    assert_same_images(images, exported.keras_images(inputs))


# Signatures


def test_export_signatures_have_names_types_and_shapes(exported):
    meta_graph, _ = graph_nodes(exported.path)
    assert list(meta_graph.meta_info_def.tags) == ["serve"]

    def described(side):
        return {
            name: (
                tf.dtypes.as_dtype(info.dtype).name,
                [dim.size for dim in info.tensor_shape.dim],
            )
            for name, info in side.items()
        }

    signatures = {
        name: (described(signature.inputs), described(signature.outputs))
        for name, signature in meta_graph.signature_def.items()
        if not name.startswith("__")  # TensorFlow's own
    }
    latents = {"z": ("float32", [-1, Z_DIM])}
    if exported.label_dim:
        latents["labels"] = ("float32", [-1, exported.label_dim])
    size = [-1, *exported.networks.config.data.image_size]
    images = {"images": ("uint8", [*size, exported.networks.config.data.channels])}
    ws = {"ws": ("float32", [-1, 6, W_DIM])}
    assert signatures == {
        "serving_default": (latents | {"truncation_psi": ("float32", [])}, images),
        "mapping": (latents, ws),
        "synthesis": (ws, images),
    }


def test_export_mapping_gives_untruncated_w(exported):
    inputs = exported.inputs(5, psi=1)
    del inputs["truncation_psi"]
    ws = exported.signature("mapping")(**inputs)
    expected = exported.generator.mapping(inputs["z"], inputs.get("labels")).numpy()
    assert np.std(expected) > 0.1
    np.testing.assert_allclose(ws, expected, rtol=1e-4, atol=1e-4)


def test_export_synthesis_gives_the_images_of_each_layers_w(exported):
    shape = [3, exported.generator.synthesis.num_ws, W_DIM]
    ws = np.random.default_rng(3).normal(size=shape).astype(np.float32)
    images = exported.signature("synthesis")(ws=ws)
    expected = exported.generator.synthesis(tf.constant(ws), noise_mode="const")
    assert_same_images(images, sampling.to_uint8(expected))


def test_export_psi_zero_gives_the_mean_image_whatever_z(exported):
    serve = exported.signature("serving_default")
    images = serve(**exported.inputs(4, psi=0))
    assert (images == images[:1]).all()
    w_avg = tf.tile(exported.generator.w_avg.value[tf.newaxis, tf.newaxis], [1, 6, 1])
    expected = exported.generator.synthesis(w_avg, noise_mode="const")
    assert_same_images(images[:1], sampling.to_uint8(expected))
    assert (serve(**exported.inputs(4, psi=1)) != images).any(axis=(1, 2, 3)).all()


# The graph


def op_counts(nodes):
    return collections.Counter(node.op for node in nodes)


def test_export_holds_stock_operations_only(exported):
    counts = op_counts(graph_nodes(exported.path)[1])
    assert counts["Conv2DBackpropInput"]  # the networks are in there
    foreign = [op for op in counts if "tfstylegan" in op.lower()]
    foreign += [op for op in counts if "PyFunc" in op or "Random" in op]
    assert not foreign


def test_export_check_of_operations_sees_compiled_ones():
    try:
        ops.library.library()
    except RuntimeError as reason:
        pytest.skip(str(reason))
    generator = networks_of("skip").G_ema
    with ops.implementation("compiled"):
        function = tf.function(generator).get_concrete_function(
            tf.TensorSpec([None, Z_DIM]), noise_mode="const"
        )
    counts = op_counts(function.graph.as_graph_def().node)
    assert any("tfstylegan" in op.lower() for op in counts)


# The folder


@pytest.fixture
def quick(monkeypatch):
    """Networks, with TensorFlow's saving replaced by one file."""

    def save(module, path, *_):
        pathlib.Path(path).mkdir()
        (pathlib.Path(path) / "saved_model.pb").write_text("graph")

    monkeypatch.setattr(tf.saved_model, "save", save)
    monkeypatch.setattr(export, "_trace", lambda generator, cutoff: (None, {}))
    return storage.Networks(G=None, D=None, G_ema="G", config=config_lib.Config())


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_export_numbers_versions_upwards(quick, tmp_path):
    outdir = tmp_path / "new" / "out"
    assert export.export_saved_model(quick, outdir) == outdir / "1"
    assert export.export_saved_model(quick, str(outdir)) == outdir / "2"
    (outdir / "2").rename(outdir / "10")
    (outdir / "notes").mkdir()
    assert export.export_saved_model(quick, outdir) == outdir / "11"
    assert names(outdir) == ["1", "10", "11", "notes"]
    assert (outdir / "11").stat().st_mode & 0o777 == outdir.stat().st_mode & 0o777


def test_export_leaves_a_version_that_appeared_meanwhile(quick, tmp_path, monkeypatch):
    rename = pathlib.Path.rename

    def late(path, target):
        if target.name == "1":
            target.mkdir()
            (target / "saved_model.pb").write_text("other")
        return rename(path, target)

    monkeypatch.setattr(pathlib.Path, "rename", late)
    assert export.export_saved_model(quick, tmp_path) == tmp_path / "2"
    assert (tmp_path / "1" / "saved_model.pb").read_text() == "other"
    assert names(tmp_path) == ["1", "2"]


def test_export_that_fails_leaves_nothing(quick, tmp_path, monkeypatch):
    save = tf.saved_model.save

    def fail(*args):
        save(*args)
        assert len(list(tmp_path.rglob("saved_model.pb"))) == 1
        assert "1" not in names(tmp_path)
        raise OSError("disk full")

    monkeypatch.setattr(tf.saved_model, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        export.export_saved_model(quick, tmp_path)
    assert names(tmp_path) == []


def test_export_needs_the_averaged_generator(quick, tmp_path):
    quick.G_ema = None
    with pytest.raises(ValueError, match=r"networks\.G_ema must be .*; got None"):
        export.export_saved_model(quick, tmp_path)


@pytest.mark.parametrize("inside", ["", "deeper/out"])
def test_export_outdir_that_is_a_file(quick, tmp_path, inside):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ValueError, match="outdir must be a folder; .*file is a file"):
        export.export_saved_model(quick, tmp_path / "file" / inside)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("name", ["saved_model.pb", "config.json"])
def test_export_outdir_that_is_something_else(quick, tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(ValueError, match="outdir must hold versions only; "):
        export.export_saved_model(quick, tmp_path)
    assert names(tmp_path) == [name]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_export_outdir_that_is_not_writable(quick, tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ValueError, match="outdir must be writable; "):
        export.export_saved_model(quick, tmp_path / "out")


# The command


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--model={}/none --outdir={}/out", "{}/none holds no config.json"),
        ("--model={} --outdir={}/file", "outdir must be a folder; {}/file is a file"),
        ("--model={} --outdir={}/file/x", "outdir must be a folder; {}/file is a"),
        ("--model={}", "flag --outdir=None"),
        ("--model={} --outdir={}/out --modle=x", "Unknown command line flag 'modle'"),
    ],
)
def test_export_command_tells_bad_input_in_one_sentence(tmp_path, arguments, message):
    (tmp_path / "file").write_text("mine")
    code, out, err = run_export(*arguments.replace("{}", str(tmp_path)).split())
    assert code != 0
    assert out == ""
    assert message.replace("{}", str(tmp_path)) in err.splitlines()[0]
    assert "Traceback" not in err
    assert names(tmp_path) == ["file"]
