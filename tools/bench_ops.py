"""Compiled ops against their pure-TensorFlow twins: one table of times and ratios.

    python tools/bench_ops.py [--shapes=32x32x32x64,32x16x16x128] [--dtype=float32]

Forward is one call; backward is the gradient in all inputs, with the part of the
forward pass that it needs. Both are traced, as in training; times are medians.
"""

import time

import numpy as np
import tensorflow as tf
from absl import app, flags

from tfstylegan import ops
from tfstylegan.ops import resample

_SHAPES = flags.DEFINE_list(
    "shapes",
    ["32x4x4x128", "32x16x16x128", "32x32x32x64", "8x128x128x32", "32x64x64x3"],
    "Shapes N x H x W x C of the inputs.",
)
_DTYPE = flags.DEFINE_string("dtype", "float32", "Type of the inputs.")
_REPEATS = flags.DEFINE_integer("repeats", 50, "Calls that are timed.", lower_bound=1)

_KERNEL = [1, 3, 3, 1]
_OPS = {
    "upsample": lambda x, b: resample.upsample_2d(x, _KERNEL),
    "downsample": lambda x, b: resample.downsample_2d(x, _KERNEL),
    "filter": lambda x, b: resample.filter_2d(x, _KERNEL),
    "bias lrelu": lambda x, b: ops.fused_bias_act(x, b, act="lrelu"),
    "bias lrelu clamp": lambda x, b: ops.fused_bias_act(x, b, act="lrelu", clamp=256.0),
}


def milliseconds(function, *arguments):
    """Median time of a call."""
    for _ in range(5):
        function(*arguments)
    times = []
    for _ in range(_REPEATS.value):
        start = time.perf_counter()
        function(*arguments)
        times.append(time.perf_counter() - start)
    return 1e3 * float(np.median(times))


def measure(op, x, bias, impl):
    """(forward, backward) in milliseconds."""

    def gradient(x, bias, dy):
        with tf.GradientTape() as tape:
            tape.watch([x, bias])
            y = op(x, bias)
        return tape.gradient(y, [x, bias], dy)

    with ops.implementation(impl):
        forward, backward = tf.function(op), tf.function(gradient)
        dy = tf.ones_like(forward(x, bias))
        return milliseconds(forward, x, bias), milliseconds(backward, x, bias, dy)


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {argv[1:]}")
    print(ops.library.describe())
    ops.library.library()  # without it there is nothing to compare
    print(f"{'milliseconds':36}  forward               backward")
    print(f"{'op, input ' + _DTYPE.value:36}" + "  compiled  twin ratio" * 2)
    for text in _SHAPES.value:
        shape = [int(n) for n in text.split("x")]
        x = tf.cast(tf.random.stateless_normal(shape, [0, 0]), _DTYPE.value)
        bias = tf.cast(tf.random.stateless_normal(shape[-1:], [0, 1]), _DTYPE.value)
        for name, op in _OPS.items():
            compiled = measure(op, x, bias, "compiled")
            twin = measure(op, x, bias, "reference")
            columns = [
                f"  {c:8.2f} {t:5.2f} {t / c:4.1f}x" for c, t in zip(compiled, twin)
            ]
            print(f"{name + ' ' + text:36}" + "".join(columns), flush=True)


if __name__ == "__main__":
    app.run(main)
