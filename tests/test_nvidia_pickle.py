"""Official checkpoints are read as what they hold, in every form they come in."""

import io
import os
import pathlib
import pickle
import subprocess
import sys
import tracemalloc

import numpy as np
import pickle_pieces as p
import pytest
from conftest import DATA

from tfstylegan.interop import nvidia_pickle

PICKLES = DATA / "pickles"
TENSORFLOW = ("stylegan1_u64", "stylegan2_f_u32", "ada_tf_u32")


def read(data, **limits):
    limits = nvidia_pickle.Limits(**limits)
    return nvidia_pickle.read(io.BytesIO(data), limits=limits)


def published(name):
    return nvidia_pickle.read(PICKLES / f"{name}.pkl")


def all_variables(record):
    """With the prefixes that the names have in the whole network."""
    variables = dict(record.variables)
    for part, below in record.components.items():
        named = {f"G_{part}/{name}": value for name, value in below.variables.items()}
        variables |= named
    return variables


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].dtype == value.dtype, name
        np.testing.assert_array_equal(found[name], value, err_msg=name, strict=True)


@pytest.mark.parametrize(
    ("name", "archive", "run"),
    [
        ("stylegan1_u64", "networks_stylegan1", "sg1_u64"),
        ("stylegan2_f_u32", "networks_stylegan2_tf", "sg2_f_u32"),
    ],
)
@pytest.mark.parametrize("network", ["Gs", "D"])
def test_nvidia_pickle_tensorflow_weights(golden, name, archive, run, network):
    prefix = f"{run}/vars/{network}/"
    expected = {
        key.removeprefix(prefix): value
        for key, value in golden(archive).items()
        if key.startswith(prefix)
    }
    record = published(name).networks["G_ema" if network == "Gs" else network]
    assert_same(all_variables(record), expected)


@pytest.mark.parametrize("network", ["G", "D", "G_ema"])
def test_nvidia_pickle_torch_weights(golden, network):
    prefix = f"u32_skip/weights/{network}/"
    expected = {
        key.removeprefix(prefix): value
        for key, value in golden("networks_stylegan2").items()
        if key.startswith(prefix)
    }
    found = published("ada_torch_u32_skip").networks[network].variables
    assert_same(found, expected)
    assert list(found) == list(expected)  # parameters, buffers, children


@pytest.mark.parametrize(
    ("name", "kinds", "version", "counts"),
    [
        ("stylegan1_u64", ("G_style", "D_basic", "G_style"), 3, (89, 33, 89)),
        ("stylegan2_f_u32", ("G_main", "D_stylegan2", "G_main"), 4, (77, 23, 77)),
        ("ada_tf_u32", ("G_main", "D_main", "G_main"), 5, (76, 23, 76)),
        (
            "ada_torch_u32_skip",
            ("Generator", "Discriminator", "Generator"),
            *(6, (87, 40, 87)),
        ),
    ],
)
def test_nvidia_pickle_describes_networks(name, kinds, version, counts):
    checkpoint = published(name)
    assert checkpoint.format == ("tensorflow" if name in TENSORFLOW else "torch")
    assert list(checkpoint.networks) == ["G", "D", "G_ema"]
    for record, kind, count in zip(checkpoint.networks.values(), kinds, counts):
        assert (record.kind, record.version) == (kind, version)
        assert len(all_variables(record)) == count
        parts = {"mapping", "synthesis"} if kind.startswith("G_") else set()
        assert set(record.components) == parts


def test_nvidia_pickle_arguments_and_attributes():
    generator = published("ada_torch_u32_skip").networks["G_ema"]
    assert generator.arguments["synthesis_kwargs"]["conv_clamp"] is None
    assert generator.arguments["img_resolution"] == 32
    assert generator.attributes["synthesis.b8.architecture"] == "skip"
    assert generator.attributes["synthesis.block_resolutions"] == [4, 8, 16, 32]
    discriminator = published("ada_tf_u32").networks["D"]
    assert discriminator.arguments["mbstd_group_size"] == 4
    assert discriminator.attributes["output_shapes"] == [[None, 1]]
    for name in ("ada_tf_u32", "ada_torch_u32_skip"):
        for record in published(name).networks.values():
            text = repr((record.arguments, record.attributes))
            assert "np." not in text and "array" not in text  # Python's own numbers


class Stub:
    def __setstate__(self, state):
        self.__dict__.update(state)


class WithNumpy(pickle.Unpickler):
    """Python's machine and NumPy's own functions; only for the files of this test."""

    def find_class(self, module, name):
        if module.startswith("numpy"):
            return super().find_class(module, name)
        assert (module, name) == ("dnnlib.tflib.network", "Network")
        return Stub


@pytest.mark.parametrize("name", TENSORFLOW)
def test_nvidia_pickle_agrees_with_numpy(name):
    with open(PICKLES / f"{name}.pkl", "rb") as file:
        expected = WithNumpy(file).load()
    for record, network in zip(published(name).networks.values(), expected):
        pairs = [(record, network)]
        pairs += [(record.components[k], v) for k, v in network.components.items()]
        for found, stub in pairs:
            assert found.kind == stub.build_func_name
            assert found.arguments == stub.static_kwargs
            assert list(found.variables) == [name for name, _ in stub.variables]
            values = {name: np.asarray(value) for name, value in stub.variables}
            assert_same(found.variables, values)


def test_nvidia_pickle_reads_paths_and_files(tmp_path):
    path = tmp_path / "network.pkl"
    path.write_bytes(p.tensorflow())
    for source in (path, str(path), io.BytesIO(path.read_bytes())):
        assert nvidia_pickle.read(source).networks["G"].kind == "G_main"
    with pytest.raises(FileNotFoundError):
        nvidia_pickle.read(tmp_path / "missing.pkl")
    with pytest.raises(IsADirectoryError):
        nvidia_pickle.read(tmp_path)


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"file_bytes": 100}, "more than 100 bytes"),
        ({"operations": 100}, "more than 100 operations"),
        ({"depth": 2}, "more than 2 levels"),
    ],
)
def test_nvidia_pickle_limits(limits, words):
    with pytest.raises(nvidia_pickle.PickleError, match=words):
        read(p.tensorflow(), **limits)
    size = len(p.tensorflow())
    assert read(p.tensorflow(), file_bytes=size, operations=1000, depth=20)


def test_nvidia_pickle_source_is_dropped():
    for data in (p.tensorflow(), p.torch(p.module())):
        assert b"import nothing" in data
        assert "import nothing" not in repr(read(data))


@pytest.mark.parametrize("version", [2, 3, 4, 5])
def test_nvidia_pickle_versions(version):
    assert read(p.tensorflow(version=version)).networks["G"].version == version


def test_nvidia_pickle_progressive_gan_names():
    data = p.tensorflow().replace(b"dnnlib.tflib.network\n", b"tfutil\n")
    assert list(read(data).networks["D"].variables) == ["bias"]
    state = {"version": 2, "build_func_name": "D", "static_kwargs": {}}
    old = p.network(raw=state | {"variables": []})  # without components
    assert read(p.file((old, old, old))).networks["G"].components == {}


def test_nvidia_pickle_python_2_strings():
    """Protocol 2 of Python 2: both texts and array bytes are byte strings."""
    short = p.Code(b"U\x04\xe9\x00\xff?")
    long = p.Code(b"T\x04\x00\x00\x00\xe9\x00\xff?")
    values = [p.array((1,), raw) for raw in (short, long, b"\xe9\x00\xff?")]
    values += [p.array((1,), p.call("_codecs", "encode", "\xe9\0\xff?", "latin1"))]
    values += [p.call("numpy.core.multiarray", "scalar", p.dtype(), short)]
    values += [p.call("numpy._core.multiarray", "scalar", p.dtype(), short)]
    variables = [(str(i), value) for i, value in enumerate(values)]
    found = read(p.tensorflow(variables=variables)).networks["G"].variables
    expected = np.frombuffer(b"\xe9\x00\xff?", "<f4")
    assert_same({"0": found["0"]}, {"0": expected})
    assert [value.tobytes() for value in found.values()] == [b"\xe9\x00\xff?"] * 6
    assert [value.shape for value in found.values()] == [(1,)] * 4 + [()] * 2


def test_nvidia_pickle_plain_values():
    ordered = p.call("collections", "OrderedDict", [("a", 1), ["b", 2]])
    hung = p.built(p.call("collections", "OrderedDict"), {"_metadata": ordered})
    easy = p.Code(p.named("dnnlib.util", "EasyDict") + b")\x81" + b"X\1\0\0\0aK\x01s")
    number = p.call(p.NUMPY, "scalar", p.dtype("i8"), bytes([5] + [0] * 7))
    values = {
        "list": ([1, -2, 2.5, None, True, "text", b"bytes", 1 << 70, ()],) * 2,
        "ordered": (ordered, {"a": 1, "b": 2}),
        "hung": (hung, {}),
        "easy": (easy, {"a": 1}),
        "set": (p.call("builtins", "set", [1, "a"]), {1, "a"}),
        "old set": (p.call("__builtin__", "set"), set()),
        "newer set": (p.Code(b"\x8f(K\x01\x90"), {1}),
        "size": (p.call("torch", "Size", (1, 2)), (1, 2)),
        "device": (p.call("torch", "device", "cuda", 0), "cuda"),
        "number": (number, 5),
    }
    arguments = {name: value for name, (value, _) in values.items()}
    found = read(p.tensorflow(static_kwargs=arguments)).networks["G"].arguments
    assert found == {name: expected for name, (_, expected) in values.items()}
    assert type(found["number"]) is int
    again = p.Code(b"]q\x00" + p.encode([p.Code(b"h\x00")] * 2) + b"\x86")
    assert read(p.argument(again)).networks["G"].arguments["argument"] == ([], [[], []])


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("name", ["f2", "f4", "f8", "i1", "i4", "i8", "u1", "u2", "b1"])
def test_nvidia_pickle_array_types(name, order):
    expected = np.array([[0, 1, 2], [3, 4, 5]]).astype(name)
    stored = expected.astype(expected.dtype.newbyteorder(order))
    kind = p.dtype(name, order)
    found = {}
    for fortran in (False, True):
        data = stored.tobytes("F" if fortran else "C")
        array = p.array((2, 3), data, kind=kind, fortran=fortran)
        (found["a"],) = read(p.argument(array)).networks["G"].arguments.values()
        assert_same(found, {"a": expected})
        assert found["a"].dtype.isnative


def test_nvidia_pickle_costs_twice_the_file():
    data = p.tensorflow(
        variables=[(str(i), p.array((1 << 20,), bytes(4 << 20))) for i in range(5)]
    )
    tracemalloc.start()
    checkpoint = read(data)
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(checkpoint.networks["G"].variables) == 5
    assert peak < 2.5 * len(data) and held < 1.1 * len(data)


def test_nvidia_pickle_loads_no_framework():
    code = "import sys, tfstylegan.interop.nvidia_pickle\n"
    code += "print({'tensorflow', 'keras', 'torch', 'dnnlib'} & set(sys.modules))"
    root = str(pathlib.Path(__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": root},
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "set()", done.stderr
