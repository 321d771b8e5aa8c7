"""Compiled ops, their twins and a plain copy: every op of a 256x256 training step.

    python tools/bench_ops.py [--quick] [--batch=2] [--dtype=float32]

The shapes are those of config F (skip generator, residual discriminator). All is
traced, as in training. Forward is one call; backward is the gradient in all inputs,
with the part of the forward pass that it needs; double backward is the gradient of the
gradient, as the regularisers need it. Columns:

twin, XLA twin, compiled: median milliseconds; n/a where XLA does not compile the twin.
copy: the limit: `tf.negative`, one pass of TensorFlow's own threads into a buffer of
  its own allocator, over a float32 tensor chosen so that it reads and writes as many
  bytes as the op must.
of copy: copy / compiled, the share of the memory's speed that the op reaches.
twin / compiled: how many times faster the compiled op is.
MiB: peak memory of one call beside its inputs and results, twin and compiled, by the
  counters of TensorFlow's allocator; what oneDNN and the kernels take elsewhere is not
  in it. n/a where that allocator does not count (TF_ENABLE_ONEDNN_OPTS=0).
"""

import pathlib
import re
import sys
import time

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

    with cli.one_sentence(RuntimeError):
        ops.library.library()  # without it there is nothing to compare
    print(f"{ops.library.describe()}; {flags.FLAGS.dtype}, milliseconds\n")
    print(f"| {HEADER} |\n|---|" + "---:|" * HEADER.count("|"))
    for resolution in resolutions:
        for name, shape, op in cases(flags.FLAGS.batch, resolution):
            for row in measure(op, shape, pointwise=name.startswith("bias")):
                label = f"{name} {'x'.join(map(str, shape))} {row[0]}"
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


def cases(batch, resolution):
    """[(name, shape of x, op of x and bias)] at one resolution of config F."""
    from tfstylegan import ops
    from tfstylegan.ops import resample

    def blur(x, before, gain):  # as resample.upsample_conv_2d and conv_downsample_2d
        kernel = resample.setup_filter(_KERNEL)
        return ops.upfirdn2d(x, kernel, padding=[before] * 4, gain=gain)

    r, level = resolution, resolution.bit_length() - 3
    c = fmaps.at_level(level, fmap_base=16384, fmap_min=1, fmap_max=512)
    return [
        ("blur G", [batch, r + 1, r + 1, c], lambda x, b: blur(x, 1, 4.0)),
        ("blur D", [batch, r, r, c], lambda x, b: blur(x, 2, 1.0)),
        (
            "up 2 RGB",
            [batch, r // 2, r // 2, 3],
            lambda x, b: resample.upsample_2d(x, _KERNEL),
        ),
        ("down 2", [batch, r, r, c], lambda x, b: resample.downsample_2d(x, _KERNEL)),
        (
            "bias lrelu",
            [batch, r, r, c],
            lambda x, b: ops.fused_bias_act(x, b, act="lrelu"),
        ),
    ]


def measure(op, shape, pointwise):
    """One row of texts for each pass."""
    import tensorflow as tf

    from tfstylegan import ops, rng

    x, bias = (
        rng.normal(rng.seed(0, name), size, flags.FLAGS.dtype)
        for name, size in (("x", shape), ("bias", shape[-1:]))
    )
    with ops.implementation("reference"):
        dy = tf.ones_like(op(x, bias))
    arguments = {
        "forward": (x, bias),
        "backward": (x, bias, dy),
        "double backward": (x, bias, dy, tf.ones_like(x)),
    }
    # The gradients of a filter do not need its forward pass; those of the activation
    # read x, write y, and read y again with another tensor.
    once = (tf.size(x) + tf.size(dy)).numpy() * x.dtype.size
    for name, given in arguments.items():
        function = passes(op)[name]
        traced = {
            "twin": trace(function, given, "reference"),
            "XLA": trace(function, given, "reference", jit_compile=True),
            "compiled": trace(function, given, "compiled"),
        }
        size = once * 5 // 2 if pointwise and name != "forward" else once
        buffer = tf.ones([size // 8])  # read and written: 4 + 4 bytes an element
        copy = milliseconds(tf.function(tf.negative), [buffer])
        twin, xla, compiled = (f and milliseconds(f, given) for f in traced.values())
        yield (
            name,
            f"{twin:.2f}",
            f"{xla:.2f}" if xla else "n/a",
            f"{compiled:.2f}",
            f"{copy:.2f}",
            f"{100 * copy / compiled:.0f} %",
            f"{twin / compiled:.1f}",
            *(temporary_mib(traced[key], given) for key in ("twin", "compiled")),
        )


def passes(op):
    """{name: function of x, bias, then dy, then the cotangent of dx}."""
    import tensorflow as tf

    def backward(x, bias, dy):
        with tf.GradientTape() as tape:
            tape.watch([x, bias])
            y = op(x, bias)
        return tape.gradient(y, [x, bias], dy)

    def double_backward(x, bias, dy, v):
        with tf.GradientTape() as tape:
            tape.watch([x, bias, dy])
            dx = backward(x, bias, dy)[0]
        return tape.gradient(dx, [x, bias, dy], v)

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


def milliseconds(function, arguments):
    """Median time of a call, of fewer calls where they take long."""
    times = []
    end = time.perf_counter() + _BUDGET
    for call in range(flags.FLAGS.repeats + 2):
        start = time.perf_counter()
        function(*arguments)
        times.append(time.perf_counter() - start)
        if call > 2 and time.perf_counter() > end:
            break
    return 1e3 * float(np.median(times[2:]))  # the first two warm up


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
    flags.DEFINE_bool("quick", False, "Only the first resolution and 32.")
    flags.DEFINE_enum("dtype", "float32", DTYPES, "Type of the inputs.")
    flags.DEFINE_integer("repeats", 20, "Calls that are timed.", 1)


if __name__ == "__main__":
    _define_flags()
    cli.run(main)
