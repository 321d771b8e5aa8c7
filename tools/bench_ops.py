"""Compiled ops against their pure-TensorFlow twins: one table of times and ratios.

    python tools/bench_ops.py [--shapes=32x32x32x64,32x16x16x128] [--dtype=float32]

Forward is one call; backward is the gradient in all inputs, with the part of the
forward pass that it needs. Both are traced, as in training; times are medians.
"""

import pathlib
import re
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import numpy as np
from absl import flags

from tfstylegan import cli

DTYPES = ("float32", "float64", "bfloat16", "float16")  # of the compiled ops
_KERNEL = [1, 3, 3, 1]


def main(argv):
    del argv
    with cli.one_sentence():
        shapes = {text: parse_shape(text) for text in flags.FLAGS.shapes or [""]}
    from tfstylegan import ops  # TensorFlow takes seconds

    with cli.one_sentence(RuntimeError):
        ops.library.library()  # without it there is nothing to compare
    print(ops.library.describe())
    print(f"{'milliseconds':36}  forward               backward")
    print(f"{'op, input ' + flags.FLAGS.dtype:36}" + "  compiled  twin ratio" * 2)
    for text, shape in shapes.items():
        for name, op in _ops().items():
            compiled = measure(op, shape, "compiled")
            twin = measure(op, shape, "reference")
            columns = [
                f"  {c:8.2f} {t:5.2f} {t / c:4.1f}x" for c, t in zip(compiled, twin)
            ]
            print(f"{name + ' ' + text:36}" + "".join(columns), flush=True)


def parse_shape(text):
    """ "32x4x4x128" -> [32, 4, 4, 128]."""
    if not re.fullmatch(r"[1-9]\d*(x[1-9]\d*){3}", text):
        raise ValueError(f"--shapes must be like 32x16x16x128 (NxHxWxC); got {text!r}")
    return [int(number) for number in text.split("x")]


def measure(op, shape, impl):
    """(forward, backward) in milliseconds."""
    import tensorflow as tf

    from tfstylegan import ops, rng

    x, bias = (
        rng.normal(rng.seed(0, name), size, flags.FLAGS.dtype)
        for name, size in (("x", shape), ("bias", shape[-1:]))
    )

    def gradient(x, bias, dy):
        with tf.GradientTape() as tape:
            tape.watch([x, bias])
            y = op(x, bias)
        return tape.gradient(y, [x, bias], dy)

    with ops.implementation(impl):
        forward, backward = tf.function(op), tf.function(gradient)
        dy = tf.ones_like(forward(x, bias))
        return milliseconds(forward, x, bias), milliseconds(backward, x, bias, dy)


def milliseconds(function, *arguments):
    """Median time of a call."""
    for _ in range(5):
        function(*arguments)
    times = []
    for _ in range(flags.FLAGS.repeats):
        start = time.perf_counter()
        function(*arguments)
        times.append(time.perf_counter() - start)
    return 1e3 * float(np.median(times))


def _ops():
    """{name: op of x and bias}."""
    from tfstylegan import ops
    from tfstylegan.ops import resample

    return {
        "upsample": lambda x, b: resample.upsample_2d(x, _KERNEL),
        "downsample": lambda x, b: resample.downsample_2d(x, _KERNEL),
        "filter": lambda x, b: resample.filter_2d(x, _KERNEL),
        "bias lrelu": lambda x, b: ops.fused_bias_act(x, b, act="lrelu"),
        "bias lrelu clamp": lambda x, b: ops.fused_bias_act(
            x, b, act="lrelu", clamp=256.0
        ),
    }


def _define_flags():
    flags.DEFINE_list(
        "shapes",
        ["32x4x4x128", "32x16x16x128", "32x32x32x64", "8x128x128x32", "32x64x64x3"],
        "Shapes N x H x W x C of the inputs.",
    )
    flags.DEFINE_enum("dtype", "float32", DTYPES, "Type of the inputs.")
    flags.DEFINE_integer("repeats", 50, "Calls that are timed.", 1)


if __name__ == "__main__":
    _define_flags()
    cli.run(main)
