"""Compiled ops, their twins and a plain copy: every op of a 256x256 training step.

    python tools/bench_ops.py [--quick] [--batch=2] [--dtype=float32]
    python tools/bench_ops.py --batch=8 --resolutions=128 --channels=64

The shapes are those of config F (skip generator, residual discriminator), or have the
channels that are asked for. "epilogue unfused" is what styled_epilogue does in one
pass, made of multiply, add and fused_bias_act. All is traced and the allocator keeps
freed memory, as in training. Forward is one call; backward is the gradient in all
inputs, with the part of the forward pass that it needs; double backward is the gradient
of the gradient, as the regularisers need it. Columns:

twin, XLA twin, compiled: median milliseconds of calls in turn; n/a where XLA does not
  compile the twin, or with --noxla.
copy: the limit: `tf.negative`, one pass of TensorFlow's own threads into a buffer of
  its own allocator, over a float32 tensor chosen so that it reads and writes as many
  bytes as the op must.
of copy: copy / compiled, the share of the memory's speed that the op reaches.
twin / compiled: how many times faster the compiled op is.
MiB: peak memory of one call beside its inputs and results, twin and compiled, by the
  counters of TensorFlow's allocator; what oneDNN and the kernels take elsewhere is not
  in it. n/a where that allocator does not count (TF_ENABLE_ONEDNN_OPTS=0).
"""

import functools
import pathlib
import re
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import numpy as np
from absl import flags

from tfstylegan import cli, fmaps

DTYPES = ("float32", "float64", "bfloat16", "float16")  # of the compiled ops
PASSES = ("forward", "backward", "double backward")
HEADER = (
    "op, input, pass | twin | XLA twin | compiled | copy | of copy | twin / compiled | "
    "MiB twin | MiB compiled"
)
_KERNEL = [1, 3, 3, 1]
_BUDGET = 2.0  # seconds a measurement may take


def main(argv):
    del argv
    with cli.one_sentence():
        resolutions = parse_resolutions(flags.FLAGS.resolutions)
    from tfstylegan import ops  # TensorFlow takes seconds
    from tfstylegan.training import allocator

    allocator.keep_freed_memory()
    with cli.one_sentence(RuntimeError):
        ops.library.library()  # without it there is nothing to compare
    print(f"{ops.library.describe()}; {flags.FLAGS.dtype}, milliseconds\n")
    print(f"| {HEADER} |\n|---|" + "---:|" * HEADER.count("|"))
    for resolution in resolutions:
        for case in cases(flags.FLAGS.batch, resolution, flags.FLAGS.channels):
            for row in measure(case):
                label = f"{case.name} {'x'.join(map(str, case.shapes[0]))} {row[0]}"
                print(f"| {' | '.join([label, *row[1:]])} |", flush=True)


def parse_resolutions(texts):
    """["8", "16"] -> [8, 16], powers of two; --quick keeps the first and 32."""
    for text in texts:
        if not re.fullmatch("8|16|32|64|128|256|512|1024", text):
            raise ValueError(f"--resolutions must be powers of 2 from 8; got {text!r}")
    resolutions = [int(text) for text in texts]
    if not resolutions:
        raise ValueError("--resolutions must name at least one resolution")
    if flags.FLAGS.quick:
        resolutions = [r for r in resolutions if r in (resolutions[0], 32)]
    return resolutions


class Case(NamedTuple):
    """An op, the shapes of x and its other arguments, and how much it must move."""

    name: str
    op: Callable
    shapes: list  # of x, then the other arguments
    # How often a tensor of the size of x is read or written in each pass; None for
    # filters: in every pass one of the size of x and one of the size of y.
    moves: tuple | None = None


def cases(batch, resolution, channels):
    """The cases at one resolution of config F."""
    import tensorflow as tf

    from tfstylegan import ops
    from tfstylegan.ops import resample

    def blur(x, before, gain):  # as resample.upsample_conv_2d and conv_downsample_2d
        kernel = resample.setup_filter(_KERNEL)
        return ops.upfirdn2d(x, kernel, padding=[before] * 4, gain=gain)

    def unfused(x, scale, noise, strength, bias):
        x *= tf.cast(scale, x.dtype)[:, tf.newaxis, tf.newaxis, :]
        x += tf.cast(noise * strength, x.dtype)
        return ops.fused_bias_act(x, bias, act="lrelu")

    r, level = resolution, resolution.bit_length() - 3
    c = channels or fmaps.at_level(level, fmap_base=16384, fmap_min=1, fmap_max=512)
    maps = [batch, r, r, c]
    epilogue = [maps, [batch, c], [batch, r, r, 1], [], [c]]
    # A gradient reads x and writes y, then reads y and dy and writes dx.
    forward, gradient = 2, 2 + 3
    # That of the epilogue also reads three and writes two for the gradient of the
    # gradient in y and dy, and goes on from y to x.
    return [
        Case("blur G", lambda x: blur(x, 1, 4.0), [[batch, r + 1, r + 1, c]]),
        Case("blur D", lambda x: blur(x, 2, 1.0), [maps]),
        Case(
            "up 2 RGB",
            lambda x: resample.upsample_2d(x, _KERNEL),
            [[batch, r // 2, r // 2, 3]],
        ),
        Case("up 2", lambda x: resample.upsample_2d(x, _KERNEL), [maps]),
        Case("down 2", lambda x: resample.downsample_2d(x, _KERNEL), [maps]),
        Case(
            "bias lrelu",
            lambda x, b: ops.fused_bias_act(x, b, act="lrelu"),
            [maps, [c]],
            (forward, gradient, gradient),
        ),
        Case(
            "epilogue",
            lambda *arguments: ops.styled_epilogue(*arguments, act="lrelu"),
            epilogue,
            (forward, gradient, gradient + 5 + 3),
        ),
        Case("epilogue unfused", unfused, epilogue, (forward, gradient, gradient + 8)),
    ]


def measure(case):
    """One row of texts for each pass."""
    import tensorflow as tf

    from tfstylegan import ops, rng

    inputs = [
        rng.normal(rng.seed(0, str(i)), shape, flags.FLAGS.dtype)
        for i, shape in enumerate(case.shapes)
    ]
    x = inputs[0]
    with ops.implementation("reference"):
        dy = tf.ones_like(case.op(*inputs))
    arguments = {
        "forward": inputs,
        "backward": [dy, *inputs],
        "double backward": [tf.ones_like(x), dy, *inputs],
    }
    for name, moves in zip(PASSES, case.moves or [None] * len(PASSES)):
        function, given = passes(case.op)[name], arguments[name]
        traced = {
            "twin": trace(function, given, "reference"),
            "XLA": flags.FLAGS.xla
            and trace(function, given, "reference", jit_compile=True),
            "compiled": trace(function, given, "compiled"),
        }
        elements = tf.size(x) * moves if moves else tf.size(x) + tf.size(dy)
        buffer = tf.ones([elements.numpy() * x.dtype.size // 8])  # 4 + 4 bytes each
        copy = tf.function(tf.negative)
        calls = {key: functools.partial(f, *given) for key, f in traced.items() if f}
        times = milliseconds(calls | {"copy": functools.partial(copy, buffer)})
        compiled = times["compiled"]
        yield (
            name,
            *(f"{times[k]:.2f}" if k in times else "n/a" for k in (*traced, "copy")),
            f"{100 * times['copy'] / compiled:.0f} %",
            f"{times['twin'] / compiled:.1f}",
            *(temporary_mib(traced[key], given) for key in ("twin", "compiled")),
        )


def passes(op):
    """{name: function of the arguments of op, before them dy, before that v of dx}."""
    import tensorflow as tf

    def backward(dy, *inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            y = op(*inputs)
        return tape.gradient(y, inputs, dy)

    def double_backward(v, dy, *inputs):
        with tf.GradientTape() as tape:
            tape.watch([dy, *inputs])
            dx = backward(dy, *inputs)[0]
        return tape.gradient(dx, [dy, *inputs], v)

    return dict(zip(PASSES, (op, backward, double_backward)))


def trace(function, arguments, impl, *, jit_compile=None):
    """The traced function, called once; None where XLA cannot."""
    import tensorflow as tf

    from tfstylegan import ops

    traced = tf.function(function, jit_compile=jit_compile, autograph=False)
    with ops.implementation(impl):
        try:
            traced(*arguments)
        except (tf.errors.OpError, NotImplementedError):
            if not jit_compile:
                raise
            return None
    return traced


def milliseconds(calls):
    """{name: median milliseconds}. They take turns, so that a slow second hits all.

    Those that take long are called less often.
    """
    times = {name: [] for name in calls}
    for _ in range(flags.FLAGS.repeats + 2):
        for name, call in calls.items():
            if sum(times[name]) > _BUDGET:
                continue
            start = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - start)
    # The first two warm up, where there are more.
    return {name: 1e3 * float(np.median(t[2:] or t)) for name, t in times.items()}


def temporary_mib(function, arguments):
    """Text of the allocator's peak in a call, less what was there and the results."""
    import tensorflow as tf

    memory = tf.config.experimental
    try:
        memory.reset_memory_stats("CPU:0")
        before = memory.get_memory_info("CPU:0")["current"]
        results = function(*arguments)
        rise = memory.get_memory_info("CPU:0")["peak"] - before
    except ValueError:
        return "n/a"
    kept = [t for t in tf.nest.flatten(results) if t is not None]
    rise -= sum(t.shape.num_elements() * t.dtype.size for t in kept)
    return f"{max(rise, 0) / 2**20:.1f}"


def _define_flags():
    flags.DEFINE_integer("batch", 2, "Images of a batch.", 1)
    flags.DEFINE_list(
        "resolutions",
        ["8", "16", "32", "64", "128", "256"],
        "Sides of the feature maps.",
    )
    flags.DEFINE_integer("channels", 0, "Of the feature maps; 0: as config F.", 0)
    flags.DEFINE_bool("quick", False, "Only the first resolution and 32.")
    flags.DEFINE_bool("xla", True, "The twins compiled by XLA too; they can take long.")
    flags.DEFINE_enum("dtype", "float32", DTYPES, "Type of the inputs.")
    flags.DEFINE_integer("repeats", 20, "Calls that are timed.", 1)


if __name__ == "__main__":
    _define_flags()
    cli.run(main)
