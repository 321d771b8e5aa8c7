"""Random calls of the CPU kernels under AddressSanitizer and UBSan, checked.

    python tests/fuzz_ops.py [--cases=20000] [--first=0] [--seed=0]

Builds the ops with the sanitizers into a temporary folder and runs them inside of
TensorFlow, so that its tensors have red zones, its threads share the work, and what a
shape function or a kernel refuses is part of the test. Every result is compared with
a float64 evaluation of the contract in custom_ops/README.md. A case depends on (seed,
number) alone: a failure tells how to repeat it.
"""

import argparse
import collections
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import numpy as np

ROOT = pathlib.Path(__file__).parents[1]
SANITIZE = (
    "-fsanitize=address,undefined -fno-sanitize-recover=all -g1 -O1"
    # Needs type information that TensorFlow does not export.
    " -fno-sanitize=vptr"
    # With these, GCC rejects constant expressions of Abseil.
    " -fno-sanitize=null,nonnull-attribute,returns-nonnull-attribute"
)
OPTIONS = {
    # Python and TensorFlow keep memory until they end.
    "ASAN_OPTIONS": "detect_leaks=0:halt_on_error=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "CUDA_VISIBLE_DEVICES": "",
}
CASE = "case"  # the file with the number of the case in work
CHANNELS = (0, 1, 1, 2, 3, 3, 4, 5, 7, 8, 12, 15, 16, 17, 31, 32, 33, 64, 70)
ACTS = (
    *("linear", "relu", "lrelu", "lrelu", "tanh", "sigmoid", "elu", "selu"),
    *("softplus", "swish"),
)
# Relative error of float accumulation and of one rounding to the type.
PRECISION = {
    "float32": (1e-5, 0),
    "float64": (1e-12, 0),
    "bfloat16": (1e-5, 2.0**-8),
    "float16": (1e-5, 2.0**-10),
}
SMALL = {"float16": 1e-7, "float64": 1e-250}  # below, numbers lose digits


class Wrong(Exception):
    """A result that is not what the contract says."""


def runtime():
    """What to load before Python; None where the sanitizers are missing."""
    if shutil.which("g++") is None:
        return None
    paths = []
    # libstdc++ too: the sanitizer looks for what throws exceptions when it starts.
    for name in ("libasan.so", "libstdc++.so.6"):
        command = ["g++", f"-print-file-name={name}"]
        asked = subprocess.run(command, capture_output=True, text=True)
        path = pathlib.Path(asked.stdout.strip())
        if not path.is_absolute():  # g++ prints names that it does not know as they are
            return None
        paths.append(str(path.resolve()))
    return ":".join(paths)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cases", type=int, default=20000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", help=argparse.SUPPRESS)  # set for the child
    options = parser.parse_args()
    if options.folder:
        run(options)
        return
    preload = runtime()
    if preload is None:
        sys.exit("error: g++ with libasan is needed")
    with tempfile.TemporaryDirectory() as folder:
        compiler = pathlib.Path(folder) / "sanitizing_compiler"
        compiler.write_text(f'#!/bin/sh\nexec g++ "$@" {SANITIZE}\n')
        compiler.chmod(0o755)
        path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        env = {**os.environ, **OPTIONS, "PYTHONPATH": path, "CXX": str(compiler)}
        build = "import sys; from tfstylegan.ops import library as l; l.build(%r)"
        subprocess.run([sys.executable, "-c", build % folder], env=env, check=True)
        command = [sys.executable, *sys.argv, f"--folder={folder}"]
        done = subprocess.run(command, env={**env, "LD_PRELOAD": preload})
        if done.returncode:
            case = (pathlib.Path(folder) / CASE).read_text()
            again = f"--seed={options.seed} --first={case} --cases=1"
            print(f"again: python tests/fuzz_ops.py {again}", file=sys.stderr)
    sys.exit(done.returncode)


def run(options):
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(2)
    (path,) = pathlib.Path(options.folder).glob("*.so")
    library = tf.load_op_library(str(path))
    kinds = {  # of ten cases
        "upfirdn2d": (upfirdn2d, 5),
        "bias_act": (bias_act, 2),
        "bias_act_grad": (bias_act_grad, 2),
        "refused": (refused, 1),
    }
    names = [name for name, (_, share) in kinds.items() for _ in range(share)]
    counts = collections.Counter()
    start = time.monotonic()
    for case in range(options.first, options.first + options.cases):
        rng = np.random.default_rng([options.seed, case])
        name = names[rng.integers(len(names))]
        (pathlib.Path(options.folder) / CASE).write_text(str(case))
        try:
            kinds[name][0](tf, library, rng)
        except Exception as error:
            raise SystemExit(f"{name} fails: {error}") from error
        counts[name] += 1
    seconds = time.monotonic() - start
    parts = ", ".join(f"{n} {name}" for name, n in sorted(counts.items()))
    print(f"{options.cases} cases in {seconds:.0f} s, all as they should be: {parts}")


def upfirdn2d(tf, library, rng):
    """One call of the op with random arguments."""
    dtype = random_type(tf, rng)
    n, h, w = rng.integers(0, 4), *rng.integers(0, 12, 2)
    c = int(rng.choice(CHANNELS))
    up, down = rng.integers(1, 5, 2), rng.integers(1, 5, 2)
    count = rng.integers(1, 7, 2)
    pad0 = rng.integers(-6, 7, 2)
    usual = rng.random() < 0.6
    if usual:  # what networks ask for
        factors = [(1, 1), (1, 1), (2, 2), (2, 1), (1, 2)]
        up, down = factors[rng.integers(5)], factors[rng.integers(5)]
        count = np.array([4, 4])
        pad0 = rng.integers(0, 4, 2)
    elif rng.random() < 0.2:
        count = rng.integers(1, 20, 2)
    rare = rng.random()
    if rare < 0.03:  # more than one piece of a row
        w, h, c = rng.integers(500, 5000), rng.integers(1, 4), rng.integers(1, 6)
    elif rare < 0.05:
        c = rng.integers(1000, 6000)
        h, w = rng.integers(1, 5, 2)
    elif rare < 0.07:  # rows enough for all threads
        n, h = rng.integers(2, 6), rng.integers(30, 70)
    taps = rng.standard_normal(count)
    if rng.random() < 0.6:
        taps = np.outer(rng.standard_normal(count[0]), rng.standard_normal(count[1]))
    if rng.random() < 0.2:
        taps *= rng.random(count) < 0.5
    size = (np.array([h, w]) * up + 2 * pad0 - count) // down + 1
    if not usual or np.any(size < 0):
        size = rng.integers(0, 14, 2)
    x = random_tensor(tf, rng, (n, h, w, c), dtype)

    axes = [
        axis_matrices(size[i], (h, w)[i], up[i], down[i], pad0[i], count[i])
        for i in range(2)
    ]
    expected = filtered(wide(x), taps, *axes)
    scale = filtered(np.abs(wide(x)), np.abs(taps), *axes)
    arguments = {"up": list(up), "down": list(down), "pad0": list(pad0)}
    found = library.tfstylegan_upfirdn2d(
        x=x, taps=taps, size=np.asarray(size, np.int32), **arguments
    )
    what = f"x {x.shape} {dtype.name}, taps {taps.shape}, size {size}, {arguments}"
    compare(found, expected, scale, dtype, what)


def axis_matrices(out, size, up, down, pad0, count):
    """[K, O, I]: which sample each tap of each output reads, if any."""
    matrices = np.zeros([count, out, size])
    for k in range(count):
        position = np.arange(out) * down + k - pad0
        sample = position // up
        reads = (position % up == 0) & (sample >= 0) & (sample < size)
        matrices[k, np.flatnonzero(reads), sample[reads]] = 1
    return matrices


def filtered(x, taps, y_axis, x_axis):
    n, h, w, c = x.shape
    result = np.zeros([n, y_axis.shape[1], x_axis.shape[1], c])
    if not result.size or not x.size:
        return result
    for ky, selects in enumerate(y_axis):
        rows = np.einsum("oi,nijc->nojc", selects, x, optimize=True)
        for kx, columns in enumerate(x_axis):
            if taps[ky, kx]:
                read = np.flatnonzero(columns.any(1))
                samples = columns[read].argmax(1)
                result[:, :, read] += taps[ky, kx] * rows[:, :, samples]
    return result


def bias_act(tf, library, rng):
    """One forward call with random arguments."""
    call = random_call(tf, rng)
    a = wide(call.x) + along(wide(call.bias), call)
    expected = activated(a, call)
    found = library.tfstylegan_fused_bias_act(
        x=call.x, bias=call.bias, scalars=call.scalars, axis=call.axis, act=call.act
    )
    scale = abs(call.scalars[1]) * (np.abs(a) + 1)
    compare(found, expected, scale, call.dtype, str(call))


def bias_act_grad(tf, library, rng):
    """One call of the gradient with random arguments."""
    call = random_call(tf, rng)
    a = wide(call.x) + along(wide(call.bias), call)
    alpha, gain, clamp = call.scalars
    ref = call.x if call.act == "swish" else tf.cast(activated(a, call), call.dtype)
    y = activated(a, call) if call.act == "swish" else wide(ref)
    dy = random_tensor(tf, rng, call.x.shape, call.dtype)
    length = call.x.shape[call.axis] if rng.random() < 0.5 else 0
    dy_bias = random_tensor(tf, rng, (length,), call.dtype)
    upstream = wide(dy) + along(wide(dy_bias), call)

    top = clamp if call.dtype == tf.float64 else np.float32(clamp)
    slope = gain * slopes(y / gain, a, call.act, alpha)
    dx = np.where(np.abs(y) >= top, 0, upstream * slope)
    found_dx, found_bias = library.tfstylegan_fused_bias_act_grad(
        dy=dy,
        dy_bias=dy_bias,
        ref=ref,
        bias=call.bias,
        scalars=call.scalars,
        axis=call.axis,
        act=call.act,
    )
    if call.act == "swish" and np.any(np.abs(np.abs(y) - top) < 1e-3 * top):
        return  # on which side of the clamp depends on rounding
    scale = np.abs(upstream) * abs(gain) * (np.abs(a) + 2)
    compare(found_dx, dx, scale, call.dtype, f"dx of {call}")
    if call.bias.shape[0]:
        others = tuple(i for i in range(dx.ndim) if i != call.axis)
        sums, scale = dx.sum(others), scale.sum(others)
        compare(found_bias, sums, scale, call.dtype, f"d_bias of {call}")
    elif found_bias.shape != (0,):
        raise Wrong(f"d_bias has shape {found_bias.shape} for {call}")


Call = collections.namedtuple("Call", "x bias scalars axis act dtype")
Call.__str__ = lambda c: (
    f"x {c.x.shape} {c.dtype.name}, bias {c.bias.shape}, axis {c.axis}, {c.act}, "
    f"(alpha, gain, clamp) = {c.scalars}"
)


def random_call(tf, rng):
    dtype = random_type(tf, rng)
    rank = rng.integers(1, 6)
    shape = rng.integers(0 if rng.random() < 0.1 else 1, 7, rank)
    axis = int(rng.integers(rank))
    if rng.random() < 0.1:  # more than one block, in one of the axes
        shape[rng.integers(rank)] = rng.integers(1000, 30000)
        shape = np.where(shape > 7, shape, np.minimum(shape, 2))
    x = random_tensor(tf, rng, shape, dtype)
    length = shape[axis] if rng.random() < 0.7 else 0
    bias = random_tensor(tf, rng, (length,), dtype)
    alpha = rng.choice([0.0, 0.2, 1.0, 1.5])
    gain = rng.choice([1.0, 2**0.5, -0.7, 3.0])
    clamp = rng.choice([np.inf, 256.0, 1.0, 0.4])
    act = str(rng.choice(ACTS))
    return Call(x, bias, np.array([alpha, gain, clamp]), axis, act, dtype)


def along(vector, call):
    """A vector, or nothing, along the axis of the call."""
    if not vector.size:
        return 0.0
    shape = [1] * call.x.shape.rank
    shape[call.axis] = -1
    return vector.reshape(shape)


def activated(a, call):
    alpha, gain, clamp = call.scalars
    scale, selu_alpha = 1.0507009873554805, 1.6732632423543772
    negative = np.minimum(a, 0)
    value = {
        "linear": lambda: a,
        "relu": lambda: np.maximum(a, 0),
        "lrelu": lambda: np.where(a > 0, a, alpha * a),
        "tanh": lambda: np.tanh(a),
        "sigmoid": lambda: 1 / (1 + np.exp(-a)),
        "elu": lambda: np.where(a > 0, a, np.expm1(negative)),
        "selu": lambda: scale * np.where(a > 0, a, selu_alpha * np.expm1(negative)),
        "softplus": lambda: np.logaddexp(a, 0),
        "swish": lambda: a / (1 + np.exp(-a)),
    }[call.act]()
    return np.clip(gain * value, -clamp, clamp)


def slopes(u, a, act, alpha):
    """Slope of the activation where its value is u, or for swish its argument a."""
    scale, selu_alpha = 1.0507009873554805, 1.6732632423543772
    sigmoid = 1 / (1 + np.exp(-a))
    return {
        "linear": lambda: np.ones_like(u),
        "relu": lambda: np.where(u > 0, 1, 0),
        "lrelu": lambda: np.where(u > 0, 1, alpha),
        "tanh": lambda: 1 - u**2,
        "sigmoid": lambda: u * (1 - u),
        "elu": lambda: np.where(u >= 0, 1, u + 1),
        "selu": lambda: np.where(u >= 0, scale, u + scale * selu_alpha),
        "softplus": lambda: -np.expm1(-u),
        "swish": lambda: sigmoid * (1 + a * (1 - sigmoid)),
    }[act]()


def refused(tf, library, rng):
    """A call that breaks the contract in one point, or comes close to it."""
    x = random_tensor(tf, rng, (2, 5, 4, 3), random_type(tf, rng))
    good = {"x": x, "taps": np.ones([2, 2]), "size": [3, 3]}
    good |= {"up": [1, 1], "down": [1, 1], "pad0": [0, 0]}
    far = int(rng.integers(2**20, 2**40))
    bad = [
        {"x": x[0]},
        {"x": x[tf.newaxis]},
        {"taps": np.ones([3])},
        {"taps": np.ones([0, 3])},
        {"taps": np.ones([1, 2, 2])},
        {"size": [3]},
        {"size": [3, 3, 3]},
        {"size": [3, int(-rng.integers(1, 2**31))]},
        {"up": [1, 0]},
        {"up": [int(-rng.integers(1, 2**40)), 1]},
        {"down": [0, 1]},
        {"down": [1, 2**20 + 1]},
        {"pad0": [2**40 + 1, 0]},
        {"pad0": [0, -(2**40) - 1]},
        {"up": [1, 1, 1]},
    ]
    if rng.random() < 0.3:  # far away, but allowed: all zeros
        pads = [far * int(rng.choice([-1, 1])), int(rng.integers(-3, 4))]
        found = library.tfstylegan_upfirdn2d(
            **good | {"pad0": pads[:: rng.choice([-1, 1])]}
        )
        compare(found, np.zeros(found.shape), 0, x.dtype, f"pad0 {pads}")
        return
    change = bad[rng.integers(len(bad))]
    must_refuse(tf, library.tfstylegan_upfirdn2d, good | change, change)

    good = {"x": x, "bias": x[0, 0, 0], "scalars": np.ones(3)}
    good |= {"axis": 3, "act": "relu"}
    bad = [
        {"axis": 4},
        {"axis": -1},
        {"bias": x[0, 0, :, 0]},
        {"bias": x[0, 0]},
        {"scalars": np.ones(2)},
        {"scalars": np.ones([3, 1])},
        {"x": x[0, 0, 0, 0]},
        {"act": "gelu"},
    ]
    change = bad[rng.integers(len(bad))]
    must_refuse(tf, library.tfstylegan_fused_bias_act, good | change, change)


def must_refuse(tf, op, arguments, change):
    try:
        op(**arguments)
    except (tf.errors.InvalidArgumentError, ValueError):
        return
    raise Wrong(f"{change} is taken")


def random_type(tf, rng):
    types = (tf.float32, tf.float32, tf.float64, tf.bfloat16, tf.float16)
    return types[rng.integers(len(types))]


def random_tensor(tf, rng, shape, dtype):
    return tf.cast(rng.standard_normal(tuple(int(s) for s in shape)), dtype)


def wide(tensor):
    return tensor.numpy().astype(np.float64)


def compare(found, expected, scale, dtype, what):
    """Raises Wrong unless |found - expected| is what float sums of `scale` leave."""
    if found.shape != expected.shape:
        raise Wrong(f"shape {found.shape}, not {expected.shape}, for {what}")
    sums, rounding = PRECISION[dtype.name]
    limit = sums * scale + rounding * np.abs(expected) + SMALL.get(dtype.name, 1e-30)
    most = float(dtype.max)
    found = np.clip(wide(found), -most, most)  # infinity stands for what is more
    error = np.abs(found - np.clip(expected, -most, most))
    if not np.all(error <= limit):
        worst = np.unravel_index(np.argmax(error - limit), error.shape)
        raise Wrong(
            f"{found[worst]} at {[int(i) for i in worst]}, not "
            f"{expected[worst]}, for {what}"
        )


if __name__ == "__main__":
    main()
