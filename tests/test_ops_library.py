"""ops.library: what is built, found and declined, and who decides."""

import hashlib
import os
import pathlib
import re
import shutil
import stat
import subprocess
import sys
import threading

import numpy as np
import pytest
import tensorflow as tf

from tfstylegan import ops
from tfstylegan.ops import building, library, resample

ROOT = pathlib.Path(__file__).parents[1]


def require_compiled():
    try:
        library.library()
    except RuntimeError as error:
        pytest.skip(str(error))


def run_python(script, **environment):
    """Output and errors of a script in a process of its own."""
    env = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", **environment}
    env["PYTHONPATH"] = os.pathsep.join([str(ROOT), env.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", script], env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def fake_compiler(folder, body, monkeypatch):
    """Puts a shell script in the place of the compiler."""
    path = folder / "compiler"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("CXX", str(path))


# Writes what follows -o, and one line a call into `calls`.
WRITES_OUTPUT = """echo call >> {calls}
sleep 0.2
while [ "$1" != -o ]; do shift; done
echo library > "$2"
"""


def test_library_compiles_here():
    """Where there is a compiler, the ops must build."""
    if not any(
        os.access(pathlib.Path(folder) / "g++", os.X_OK)
        for folder in os.environ["PATH"].split(os.pathsep)
    ):
        pytest.skip("no g++ on the PATH")
    assert library.library() is not None


def test_library_without_a_compiler_is_one_log_line(tmp_path):
    script = """
from tfstylegan import ops
import numpy as np
x = np.ones([1, 4, 4, 2], np.float32)
for _ in range(2):
    print(ops.upfirdn2d(x, [1, 1]).shape, ops.fused_bias_act(x, act="lrelu").shape)
print(ops.library.describe())
try:
    ops.upfirdn2d(x, [1, 1], impl="compiled")
except RuntimeError as error:
    print("RuntimeError:", error)
"""
    out, err = run_python(
        script, PATH=str(tmp_path), TFSTYLEGAN_CACHE=str(tmp_path), CXX="g++",
        TFSTYLEGAN_OPS="auto",
    )  # fmt: skip
    reason = "no C++ compiler (g++ is not on the PATH)"
    assert out.splitlines() == [
        *["(1, 3, 3, 2) (1, 4, 4, 2)"] * 2,
        f"reference ops ({reason})",
        f"RuntimeError: the compiled ops are not available: {reason}",
    ]
    assert err.count("using the pure-TensorFlow ops") == err.count(reason) == 1


def test_library_is_built_once_by_many(tmp_path, monkeypatch):
    body = WRITES_OUTPUT.format(calls=tmp_path / "calls")
    fake_compiler(tmp_path, body, monkeypatch)
    monkeypatch.setenv("TFSTYLEGAN_CACHE", str(tmp_path / "cache"))
    paths = []
    threads = [
        threading.Thread(target=lambda: paths.append(library._cached()))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(paths) == 4 and len(set(paths)) == 1
    calls = (tmp_path / "calls").read_text().splitlines()
    assert len(calls) == 3  # two to compile, one to link


def test_library_prefers_a_prebuilt_one(tmp_path, monkeypatch):
    name = building.prebuilt_path().name
    (tmp_path / name).touch()
    opened = []
    monkeypatch.setattr(building, "__file__", str(tmp_path / "building.py"))
    monkeypatch.setattr(library, "_open", lambda *arguments: opened.append(arguments))
    library._find()
    assert opened == [(tmp_path / name, "prebuilt")]


def test_library_that_does_not_load_is_named(tmp_path):
    path = tmp_path / "broken.so"
    path.write_text("not a library")
    with pytest.raises(RuntimeError, match="broken.so does not load"):
        library._open(path, "cached")


@pytest.fixture
def untried(tmp_path, monkeypatch):
    """As in a new process: nothing loaded, nothing declined. Collects the log lines."""
    for name in ("_library", "_origin", "_failure", "_declined", "_forced"):
        monkeypatch.setattr(library, name, None)
    monkeypatch.delenv("TFSTYLEGAN_OPS", raising=False)
    monkeypatch.setenv("TFSTYLEGAN_CACHE", str(tmp_path / "cache"))
    # No prebuilt library beside this file.
    monkeypatch.setattr(library, "_find", lambda: library._open(library._cached(), ""))
    lines = []
    for level in ("info", "warning"):
        monkeypatch.setattr(
            library.logging, level, lambda text, *values: lines.append(text % values)
        )
    return lines


def failing_compiler(tmp_path, monkeypatch):
    fake_compiler(tmp_path, "echo no luck; exit 1", monkeypatch)
    return "compiler failed:\nno luck"


def file_in_place_of_the_cache(tmp_path, monkeypatch):
    (tmp_path / "cache").write_text("in the way")
    return "File exists"


def cache_that_cannot_be_made(tmp_path, monkeypatch):
    monkeypatch.setenv("TFSTYLEGAN_CACHE", "/proc/tfstylegan")
    return "/proc/tfstylegan"


def cache_that_cannot_be_written(tmp_path, monkeypatch):
    folder = pathlib.Path("/proc/self")  # nobody can, not even root
    monkeypatch.setenv("TFSTYLEGAN_CACHE", str(folder))
    return str(building.cached_path()).removesuffix(".so")


def torn_library(tmp_path, monkeypatch):
    (tmp_path / "cache").mkdir()
    path = building.cached_path()
    path.write_bytes(b"\x7fELF and no more")
    return f"{path} does not load"


def library_of_another_tensorflow(tmp_path, monkeypatch):
    """It asks for a function that this TensorFlow does not have."""
    if shutil.which("g++") is None:
        pytest.skip("no g++ on the PATH")
    (tmp_path / "cache").mkdir()
    path = building.cached_path()
    source = tmp_path / "other.cc"
    source.write_text("void OfAnotherTensorFlow(); void f() { OfAnotherTensorFlow(); }")
    command = ["g++", "-shared", "-fPIC", "-Wl,-z,now", str(source), "-o", str(path)]
    subprocess.run(command, check=True)
    return f"{path} does not load: .*OfAnotherTensorFlow"


@pytest.mark.parametrize(
    "break_it",
    [
        failing_compiler,
        file_in_place_of_the_cache,
        cache_that_cannot_be_made,
        cache_that_cannot_be_written,
        torn_library,
        library_of_another_tensorflow,
    ],
)
def test_library_that_cannot_be_had_is_one_log_line(
    break_it, tmp_path, monkeypatch, untried
):
    reason = break_it(tmp_path, monkeypatch)
    x = tf.random.stateless_normal([1, 4, 4, 2], [0, 0])
    for _ in range(2):
        for impl in ("auto", "reference"):
            y = ops.upfirdn2d(x, [1, 3, 3, 1], up=2, padding=(2, 1, 2, 1), impl=impl)
            assert y.shape == [1, 8, 8, 2]
    said = [line for line in untried if not line.startswith("building the custom ops")]
    assert len(said) == 1
    assert re.match(f"using the pure-TensorFlow ops: (.|\n)*{reason}", said[0])
    with pytest.raises(RuntimeError, match=reason):
        ops.upfirdn2d(x, [1.0], impl="compiled")
    described = library.describe()
    assert described.startswith("reference ops (") and "\n" not in described
    assert len(untried) == len(said) + (break_it is failing_compiler)


USES_OPS = """
from tfstylegan import ops
import numpy as np
x = np.ones([1, 4, 4, 2], np.float32)
print(float(np.sum(ops.upfirdn2d(x, [1, 3, 3, 1], impl="compiled"))))
print(ops.library.describe())
"""


@pytest.mark.slow
def test_library_is_built_once_by_two_processes(tmp_path, monkeypatch):
    """The compiler of this test takes a second and hands out the library that is."""
    require_compiled()
    if "prebuilt" in library._origin:
        pytest.skip("a prebuilt library is there: nothing would be built")
    built = library._cached()
    monkeypatch.setenv("TFSTYLEGAN_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("TFSTYLEGAN_OPS", raising=False)
    body = WRITES_OUTPUT.format(calls=tmp_path / "calls")
    body = body.replace("echo call", 'echo "$*"').replace("sleep 0.2", "sleep 1")
    body = body.replace("echo library >", f"cp {built}")
    fake_compiler(tmp_path, body, monkeypatch)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", USES_OPS]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, env=env, **pipes) for _ in range(2)]
    for process in processes:
        out, err = process.communicate()
        assert process.returncode == 0, err
        assert out.splitlines() == [
            "128.0",
            f"compiled ops (cached {built.name})",
        ]
    calls = (tmp_path / "calls").read_text().splitlines()
    assert len([call for call in calls if "-shared" in call]) == 1
    assert len([call for call in calls if " -c " in call]) == len(calls) - 1
    libraries = [p.name for p in (tmp_path / "cache").iterdir() if p.suffix == ".so"]
    assert libraries == [built.name]


def test_implementation_nests_and_ends(monkeypatch):
    monkeypatch.delenv("TFSTYLEGAN_OPS", raising=False)
    outside = library.use_compiled("auto")
    with ops.implementation("reference"):
        assert not library.use_compiled("auto")
        with ops.implementation("auto"):
            assert library.use_compiled("auto") == outside
        assert not library.use_compiled("auto")
        assert library.describe() == "reference ops (ops.implementation('reference'))"
        seen = []
        thread = threading.Thread(
            target=lambda: seen.append(library.use_compiled("auto"))
        )
        thread.start()
        thread.join()
        assert seen == [False]  # tf.distribute traces in other threads
    with pytest.raises(KeyError), ops.implementation("reference"):
        raise KeyError
    assert library.use_compiled("auto") == outside


def test_implementation_rejects_other_names(monkeypatch):
    with pytest.raises(ValueError, match="name must be one of .*'fast'"):
        ops.implementation("fast")
    with pytest.raises(ValueError, match="target must be one of .*'gpu'"):
        ops.implementation("compiled", target="gpu")
    monkeypatch.setenv("TFSTYLEGAN_OPS", "fast")
    with pytest.raises(ValueError, match="TFSTYLEGAN_OPS must be one of .*'fast'"):
        ops.upfirdn2d(np.zeros([1, 2, 2, 1]), None)


def test_environment_chooses(monkeypatch):
    monkeypatch.setenv("TFSTYLEGAN_OPS", "reference")
    assert not library.use_compiled("auto")
    assert library.describe() == "reference ops (TFSTYLEGAN_OPS=reference)"
    require_compiled()
    assert library.use_compiled("compiled")
    monkeypatch.setenv("TFSTYLEGAN_OPS", "compiled")
    assert library.use_compiled("auto")
    assert library.describe().startswith("compiled ops (")


def step(x, w, bias):
    """A little of everything, with a gradient of a gradient."""
    with tf.GradientTape() as outer:
        outer.watch([w, bias])
        with tf.GradientTape() as inner:
            inner.watch(x)
            y = resample.upsample_conv_2d(x, w, [1, 3, 3, 1])
            y = ops.fused_bias_act(y, bias, act="lrelu", clamp=256.0)
            y = resample.conv_downsample_2d(y, w, [1, 3, 3, 1])
            y = resample.filter_2d(y, [1, 2, 1])
            loss = tf.reduce_sum(y**2)
        penalty = tf.reduce_sum(inner.gradient(loss, x) ** 2)
    return y, *outer.gradient(penalty, [w, bias])


def step_inputs():
    shapes = [4, 9, 8, 16], [3, 3, 16, 16], [16]
    return [tf.random.stateless_normal(s, [0, i]) for i, s in enumerate(shapes)]


def test_reference_traces_to_stock_ops_and_xla():
    with ops.implementation("reference"):
        traced = tf.function(step, jit_compile=True)
        graph = traced.get_concrete_function(*step_inputs()).graph
    definition = graph.as_graph_def()
    names = {node.op for node in definition.node}
    for function in definition.library.function:
        names |= {node.op for node in function.node_def}
    assert len(names) > 5 and not [n for n in names if n.startswith("Tfstylegan")]
    for found, expected in zip(traced(*step_inputs()), step(*step_inputs())):
        scale = np.max(np.abs(expected))
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * scale)


def test_reference_saves_and_loads(tmp_path):
    module = tf.Module()
    with ops.implementation("reference"):

        @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3])])
        def serve(x):
            x = resample.upsample_2d(x, [1, 3, 3, 1])
            return ops.fused_bias_act(x, tf.ones([3]), act="lrelu")

        module.serve = serve
        tf.saved_model.save(module, str(tmp_path))
    x = tf.random.stateless_normal([2, 5, 4, 3], [0, 0])
    loaded = tf.saved_model.load(str(tmp_path))
    np.testing.assert_allclose(loaded.serve(x), serve(x), rtol=1e-5, atol=1e-6)


DIGEST = """
import hashlib, sys
import tensorflow as tf
tf.config.threading.set_intra_op_parallelism_threads(int(sys.argv[1]))
from tfstylegan import ops
from tfstylegan.ops import resample
x = tf.random.stateless_normal([16, 33, 31, 70], [0, 0])
bias = tf.random.stateless_normal([70], [0, 1])
with tf.GradientTape() as tape:
    tape.watch([x, bias])
    y = resample.upsample_2d(x, [1, 3, 3, 1])
    y = ops.fused_bias_act(y, bias, act="lrelu", impl="compiled")
    loss = tf.raw_ops.Square(x=y)
tensors = [y, *tape.gradient(loss, [x, bias])]
print(hashlib.sha256(b"".join(t.numpy().tobytes() for t in tensors)).hexdigest())
"""


def test_compiled_bits_do_not_depend_on_threads():
    require_compiled()
    digests = set()
    for threads in ("1", "4"):
        script = DIGEST.replace("sys.argv[1]", threads)
        digests.add(run_python(script)[0].strip())
    assert len(digests) == 1 and len(digests.pop()) == len(hashlib.sha256().hexdigest())
