"""Export: what is written, the same bytes each time, and all of it or nothing."""

import collections
import json
import os
import pathlib
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from conftest import DATA
from exported import (
    CASES,
    ROOT,
    W_DIM,
    Z_DIM,
    Exported,
    assert_same_images,
    contents,
    graph_nodes,
    networks_of,
    run,
    run_export,
)
from tensorflow.core.protobuf import saved_model_pb2

from tfstylegan import config as config_lib
from tfstylegan import export, ops
from tfstylegan.interop import nvidia
from tfstylegan.networks import build, storage
from tfstylegan.serving import card, saving, warmup

EMPTY_MODEL = saved_model_pb2.SavedModel()
EMPTY_MODEL.meta_graphs.add()


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Everything there is to export, of a network with labels."""
    networks = networks_of(
        label_dim=2, discriminator=True, base_grid=(4, 6), channels=1
    )
    networks.cur_nimg = 12_500
    networks.config.generator.truncation_cutoff = 99  # of 6 layers: all
    outdir = tmp_path_factory.mktemp("export")
    path = export.export_saved_model(
        networks, outdir, discriminator=True, max_batch=7, metrics=[{"value": 1.5}]
    )
    return Exported(networks, path)


def ops_of(nodes):
    return collections.Counter(node.op for node in nodes)


def foreign(path):
    """Ops of the graph and its functions that TensorFlow itself does not have."""
    meta_graph, nodes = graph_nodes(path)
    functions = {x.signature.name for x in meta_graph.graph_def.library.function}
    own = vars(tf.raw_ops)
    return {op for op in ops_of(nodes) if op not in own and op not in functions}


# What is written


def test_export_holds_stock_operations_only(exported):
    assert foreign(exported.path) == set()
    counts = ops_of(graph_nodes(exported.path)[1])
    assert counts["Conv2D"] and counts["EncodePng"]  # the networks are in there
    assert not any("PyFunc" in op for op in counts)
    random = {op for op in counts if "Random" in op}
    assert random and all(op.startswith("Stateless") for op in random)


def test_export_check_of_operations_sees_compiled_ones(tmp_path):
    try:
        ops.library.library()
    except RuntimeError as reason:
        pytest.skip(str(reason))
    networks = networks_of()
    path = export.export_saved_model(networks, tmp_path, ops="compiled")
    found = foreign(path)
    assert found >= {"TfstyleganUpfirdn2d", "TfstyleganStyledEpilogue"}
    assert all(op.startswith("Tfstylegan") for op in found)
    meta_graph, nodes = graph_nodes(path)
    assert "folded_kernel" in str(meta_graph.object_graph_def)
    assert not ops_of(nodes)["DepthwiseConv2dNative"]  # the stock form of the filter
    exported = Exported(networks, path)
    given = exported.inputs(3)
    images = exported.ask("serving_default", **given)
    assert_same_images(images, exported.keras(given))
    assert json.loads((path / card.PATH).read_text())["ops"] == "compiled"


def test_export_for_cpus_takes_what_is_for_them_only(tmp_path):
    """Whatever machine exports; of maps large enough that it pays."""
    try:
        ops.library.library()
    except RuntimeError as reason:
        pytest.skip(str(reason))
    networks = networks_of(resolution=32, fmap_max=256)  # 64 to 256 maps
    found = {}
    for name in ("compiled", "compiled_cpu"):
        path = export.export_saved_model(networks, tmp_path, ops=name)
        found[name] = {
            re.sub(r"_\d+/", "/", "/".join(node.name.split("/")[-2:]))
            for node in graph_nodes(path)[1]
            if node.op == "TfstyleganConv3x3"
        }
        exported = Exported(networks, path)
        given = exported.inputs(3)
        images = exported.ask("serving_default", **given)
        assert_same_images(images, exported.keras(given))
    assert not found["compiled"]
    assert found["compiled_cpu"] == {"32x32_conv/TfstyleganConv3x3"}


CODE = {"z": ("float32", [-1, Z_DIM]), "seed": ("int64", None)}
LABELS = {"labels": ("float32", [-1, 2])}
OPTIONS = {
    "truncation_psi": ("float32", None),
    "truncation_cutoff": ("int32", None),
    "noise_seed": ("int64", None),
}
OTHER = {
    "other_z": CODE["z"],
    "other_seed": CODE["seed"],
    "layers": ("bool", [-1, 6]),
}
IMAGES = {"images": ("uint8", [-1, 16, 24, 1])}
WS = {"ws": ("float32", [-1, 6, W_DIM])}
SIGNATURES = {
    "serving_default": (CODE | LABELS | OPTIONS, IMAGES),
    "generate_png": (CODE | LABELS | OPTIONS, {"png_bytes": ("string", [-1])}),
    "style_mix": (CODE | OTHER | LABELS | OPTIONS, IMAGES),
    "mapping": ({"z": CODE["z"]} | LABELS, WS),
    "synthesis": (WS, IMAGES),
    "synthesis_float": (WS, {"images": ("float32", IMAGES["images"][1])}),
    "discriminate": (IMAGES | LABELS, {"logits": ("float32", [-1, 1])}),
}


def test_export_signatures_have_names_types_and_shapes(exported):
    meta_graph, _ = graph_nodes(exported.path)
    assert list(meta_graph.meta_info_def.tags) == ["serve"]
    found = {
        name: tuple(
            {key: (x["dtype"], x["shape"]) for key, x in described[side].items()}
            for side in ("inputs", "outputs")
        )
        for name, described in card.described(meta_graph).items()
    }
    assert found == SIGNATURES


def test_export_signatures_have_defaults(exported):
    signatures = graph_nodes(exported.path)[0].signature_def
    for name, (given, _) in SIGNATURES.items():
        wanted = set(given) - {"labels", "layers", "ws", "images"}
        if name == "mapping":
            wanted.remove("z")
        assert set(signatures[name].defaults) == wanted
    defaults = saving.default_inputs(exported.path, "serving_default")
    assert np.isnan(defaults.pop("z")).all()
    assert {name: x.numpy().tolist() for name, x in defaults.items()} == {
        "seed": [-1],
        "noise_seed": [-1],
        "truncation_psi": [1.0],
        "truncation_cutoff": [6],
    }


def test_export_is_shown_by_saved_model_cli(exported):
    cli = [sys.executable, "-m", "tensorflow.python.tools.saved_model_cli"]
    code, out, err = run([*cli, "show", "--dir", exported.path, "--all"])
    assert code == 0, err
    for name, (given, made) in SIGNATURES.items():
        _, _, rest = out.partition(f"signature_def['{name}']:")
        shown = rest.partition("signature_def[")[0]
        for key in given:
            assert f"inputs['{key}'] tensor_info:" in shown
        for key in made:
            assert f"outputs['{key}'] tensor_info:" in shown


def test_export_model_card_says_what_it_is(exported):
    text = (exported.path / card.PATH).read_text()
    found = json.loads(text)
    networks = exported.networks
    assert found.pop("config") == json.loads(networks.config.to_json())
    assert found["kimg"] == 12.5 and found["metrics"] == [{"value": 1.5}]
    assert found["max_batch"] == 7 and found["dtype"] == "float32"
    assert found["license"] == export.LICENSE
    z = found["signatures"]["serving_default"]["inputs"]["z"]
    assert z == {"dtype": "float32", "shape": [-1, Z_DIM], "default": None}
    before = card.weights_sha256(networks.G_ema)
    assert found["weights_sha256"] == before
    variable = networks.G_ema.variables[3]
    kept = variable.numpy()
    changed = kept.copy()
    changed.flat[0] = np.nextafter(changed.flat[0], 9, dtype=np.float32)
    variable.assign(changed)
    assert card.weights_sha256(networks.G_ema) != before
    variable.assign(kept)


def test_export_takes_the_metrics_of_this_moment(tmp_path):
    lines = [
        {"network": "trained", "cur_nimg": 5, "value": 1.0, "model": "/a/b"},
        {"network": "trained", "cur_nimg": 4, "value": 2.0},
        {"network": "untrained", "cur_nimg": 5, "value": 3.0},
    ]
    assert export.measured(tmp_path, 5) == []
    lines.append({"network": "trained", "cur_nimg": 5, "value": float("nan")})
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / "metrics.jsonl").write_text(text)
    about = {"network": "trained", "cur_nimg": 5}
    wanted = [about | {"value": 1.0}, about | {"value": None}]
    assert export.measured(tmp_path, 5) == wanted
    (tmp_path / "metrics.jsonl").write_text(text + '{"network": "tra')
    with pytest.raises(ValueError, match=r"metrics\.jsonl must hold a result a line"):
        export.measured(tmp_path, 5)


def test_export_has_a_warmup_request_of_each_signature(exported):
    records = tf.data.TFRecordDataset(str(exported.path / warmup.PATH))
    records = [record.numpy() for record in records]
    assert len(records) == len(SIGNATURES)
    for record in records:
        names = [name for name in SIGNATURES if name.encode() in record]
        assert names


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_export_in_half_precision_is_the_half_network(dtype, tmp_path):
    networks = networks_of()
    path = export.export_saved_model(networks, tmp_path, dtype=dtype)
    half = tf.dtypes.as_dtype(dtype)
    _, nodes = graph_nodes(path)
    assert any(half.as_datatype_enum == node.attr["T"].type for node in nodes)
    exported = Exported(networks, path)
    given = exported.inputs(4)
    images = exported.ask("serving_default", **given)
    clamp = 256.0 if dtype == "float16" else None
    narrow = networks.G_ema.in_dtype(dtype, conv_clamp=clamp)
    own = narrow(given["z"], noise_mode="const").numpy().astype(np.float32)
    wide = exported.keras(given)
    assert images.dtype == np.uint8
    error = np.abs(own - wide).mean()
    assert 0 < error < 0.03
    assert np.abs(images / 127.5 - 1 - np.clip(own, -1, 1)).mean() < 0.01


# The same bytes


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name == "skip" else [pytest.mark.slow])
        for name in CASES
    ],
)
def test_export_gives_the_same_bytes_again(name, tmp_path):
    """In one process, whose functions have other numbers the second time."""
    networks = networks_of(**CASES[name], discriminator=name == "skip")
    first, second = (
        contents(
            export.export_saved_model(networks, tmp_path, discriminator=name == "skip")
        )
        for _ in range(2)
    )
    assert set(first) == {
        *("saved_model.pb", card.PATH, warmup.PATH),
        *("variables/variables.index", "variables/variables.data-00000-of-00001"),
    }
    for file, content in first.items():
        assert second[file] == content, file
    networks.G_ema.variables[0].assign_add(networks.G_ema.variables[0])
    third = contents(export.export_saved_model(networks, tmp_path))
    assert third["variables/variables.data-00000-of-00001"] not in first.values()


def test_export_command_makes_what_loads_without_this_package(tmp_path):
    """And what another process writes, byte for byte."""
    networks = networks_of(label_dim=2)
    storage.save_networks(tmp_path / "model", networks)
    flags = [f"--model={tmp_path}/model", f"--outdir={tmp_path}/out", "--max_batch=5"]
    code, out, err = run_export(*flags)
    assert code == 0, err
    path = tmp_path / "out" / "1"
    assert f"SavedModel: {path}\n" in out
    assert f"-v {tmp_path}/out:/models/" in out
    assert len(out.splitlines()) == 2
    loaded = storage.load_networks(tmp_path / "model")
    again = export.export_saved_model(loaded, tmp_path / "again", max_batch=5)
    assert contents(path) == contents(again)

    exported = Exported(networks, path)
    given = exported.inputs(4, truncation_psi=np.float32([0.8]))
    defaults = saving.default_inputs(path, "serving_default")
    given = {name: x.numpy() for name, x in defaults.items()} | given
    np.savez(tmp_path / "inputs.npz", **given)
    program = (
        "import sys, numpy as np, tensorflow as tf\n"
        "model = tf.saved_model.load(sys.argv[1])\n"
        "inputs = {k: tf.constant(v) for k, v in np.load(sys.argv[2]).items()}\n"
        "outputs = model.signatures['serving_default'](**inputs)\n"
        "np.save(sys.argv[3], outputs['images'].numpy())\n"
        "sys.exit('tfstylegan' in sys.modules)\n"
    )
    files = (path, tmp_path / "inputs.npz", tmp_path / "images.npy")
    code, _, err = run([sys.executable, "-c", program, *files], cwd=tmp_path)
    assert code == 0, err
    images = np.load(tmp_path / "images.npy")
    assert_same_images(images, exported.keras(given, truncation_psi=0.8))


def untrained(preset):
    config = config_lib.preset(preset).validate()
    generator = build.build_generator(config)
    return storage.Networks(G=None, D=None, G_ema=generator, config=config)


def imported(name):
    networks, _ = nvidia.import_checkpoint(DATA / "pickles" / f"{name}.pkl", ["G_ema"])
    return networks


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "name"),
    [
        (untrained, "digits32"),
        (untrained, "stylegan1_digits32"),
        *((imported, path.stem) for path in sorted(DATA.glob("pickles/*.pkl"))),
    ],
)
def test_export_of_two_processes_has_the_same_bytes(make, name, tmp_path):
    """Of processes whose sets and dicts of strings have other orders."""
    storage.save_networks(tmp_path / "model", make(name))
    found = []
    for seed in "12":
        flags = f"--model={tmp_path}/model", f"--outdir={tmp_path}/out"
        code, _, err = run_export(*flags, PYTHONHASHSEED=seed)
        assert code == 0, err
        found.append(contents(tmp_path / "out" / seed))
    first, second = found
    assert set(first) == set(second) and len(first) == 5
    for file, content in first.items():
        assert second[file] == content, file


# Killed

SLOWLY = """
import os, sys, pathlib, time
from tfstylegan import export
from tfstylegan.networks import storage
from tfstylegan.serving import card, saving, warmup

stage = sys.argv.pop(1)

def paused(owner, name, after):
    call = getattr(owner, name)
    def pausing(*args, **kwargs):
        result = call(*args, **kwargs) if after else None
        print("here", flush=True)
        time.sleep(600)
        return result
    setattr(owner, name, pausing)

if stage == "graph":
    paused(saving, "rename_functions", False)
elif stage == "warmup":
    paused(warmup, "write", True)
elif stage == "card":
    paused(card, "write", True)
elif stage == "rename":
    paused(saving, "_newest", False)
networks = storage.load_networks(sys.argv[1])
export.export_saved_model(networks, sys.argv[2])
"""


@pytest.mark.parametrize(
    "stage",
    [
        *(pytest.param(x, marks=pytest.mark.slow) for x in ("graph", "warmup", "card")),
        "rename",
    ],
)
def test_export_that_is_killed_leaves_nothing_for_a_server(stage, tmp_path, model):
    command = [sys.executable, "-c", SLOWLY, stage, str(model), str(tmp_path)]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "-1"}
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"here\n"
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    left = names(tmp_path)
    assert len(left) == 1 and left[0].startswith(".partial-")
    assert list(tmp_path.rglob("variables.index"))  # it was on its way
    # A server looks for folders whose names are numbers; the next export makes one.
    assert not [name for name in left if name.isdecimal()]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model")
    storage.save_networks(path, networks_of())
    return path


# The folder


@pytest.fixture
def quick(monkeypatch):
    """Networks, with what is written replaced by one file."""

    def save(path, *_):
        (path / "saved_model.pb").write_bytes(b"")

    monkeypatch.setattr(saving, "save", save)
    monkeypatch.setattr(saving, "read", lambda path: EMPTY_MODEL)
    monkeypatch.setattr(export, "_signatures", lambda *_: (None, []))
    generator = tf.keras.Sequential()
    config = config_lib.Config()
    return storage.Networks(G=None, D=None, G_ema=generator, config=config)


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
    def fail(path, card):
        assert len(list(tmp_path.rglob("saved_model.pb"))) == 1
        assert "1" not in names(tmp_path)
        raise OSError("disk full")

    monkeypatch.setattr(card, "write", fail)
    with pytest.raises(OSError, match="disk full"):
        export.export_saved_model(quick, tmp_path)
    assert names(tmp_path) == []


def test_export_needs_the_averaged_generator(quick, tmp_path):
    quick.G_ema = None
    with pytest.raises(ValueError, match=r"networks\.G_ema must be .*; got None"):
        export.export_saved_model(quick, tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "int8"}, "dtype must be one of float32, .*; got 'int8'"),
        (
            {"ops": "fast"},
            "ops must be one of stock, compiled, compiled_cpu; got 'fast'",
        ),
        ({"max_batch": 0}, "max_batch must be at least 1, below 2.31; got 0"),
        ({"discriminator": True}, r"networks\.D must be there for .*; got None"),
    ],
)
def test_export_names_a_bad_argument(quick, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        export.export_saved_model(quick, tmp_path, **options)
    assert names(tmp_path) == []


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
