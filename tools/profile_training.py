"""Where the time of training goes, and what its convolutions alone would take.

    python tools/profile_training.py --config=configs/yardstick32.py

Three tables, of one process and one cycle of lazy regularisation (16 steps):

- seconds by phase;
- seconds in kernels of each type by TensorFlow's profiler, which overlap where ops run
  side by side, with the share of all cores' time that they cover;
- the convolutions that the compiled steps contain, each shape run alone: what a step
  would take without all else. Their GFLOP are of the direct sum, whatever the kernel.

The last lines are in images/s per GFLOP/s, as `bench_training.py` gives them: what was
measured, what it were if a cycle took as long as its convolutions alone, and if it took
as long as a float32 matrix product takes for as many GFLOP.
"""

import collections
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import numpy as np
from absl import flags
from trainer import seconds_by_type, seconds_of
from training_cycles import Cycles, matmul_gflops

from tfstylegan import cli

_TYPES = 15  # of ops that the table names
KERNELS = {  # of convolutions, and what they compute
    "Conv2D": "forward",
    "Conv2DBackpropInput": "gradient of x",
    "Conv2DBackpropFilter": "gradient of the kernel",
    "TfstyleganConv3x3": "forward or gradient of x, Winograd's",
    "TfstyleganConv3x3KernelGrad": "gradient of the kernel, Winograd's",
}


def main(argv):
    del argv
    with cli.one_sentence():
        config = flags.FLAGS.config.validate()
        if config.train.max_batch_per_device:
            raise ValueError(
                "train.max_batch_per_device must be 0: convolutions in loops are not "
                f"counted; got {config.train.max_batch_per_device}"
            )
    from tfstylegan import ops
    from tfstylegan.training import allocator

    allocator.keep_freed_memory()
    cycles = Cycles(config)
    cycles.run()  # traces and warms up
    gflops = [matmul_gflops()]
    seconds = min(seconds_of(cycles.run) for _ in range(flags.FLAGS.cycles))
    gflops.append(matmul_gflops())
    rate = np.median(gflops)
    print(f"{ops.library.describe()}; matrix product {rate:.0f} GFLOP/s\n")
    show_phases(cycles)
    show_kernels(cycles)
    alone, work = show_convolutions(cycles)
    images = cycles.images_of_one
    print()
    row("images/s per GFLOP/s, measured", f"{images / seconds / rate:.4f}")
    row("if it were its convolutions alone", f"{images / alone / rate:.4f}")
    row("at the matrix product's rate", f"{images / work:.4f}")


def show_phases(cycles):
    print("| phase | seconds of a cycle | share |\n|---|---:|---:|")
    total = sum(cycles.seconds.values())
    for name, seconds in cycles.seconds.items():
        row(name, f"{seconds / (cycles.done - 1):.3f}", f"{seconds / total:.1%}")


def show_kernels(cycles):
    walls = []  # without what the profiler does after the cycle
    kernels = seconds_by_type(lambda: walls.append(seconds_of(cycles.run)))
    total = sum(kernels.values())
    print("\n| op | seconds in its kernels | share |\n|---|---:|---:|")
    named = kernels.most_common(_TYPES)
    for name, seconds in [*named, ("the rest", total - sum(s for _, s in named))]:
        row(name, f"{seconds:.3f}", f"{seconds / total:.1%}")
    cores = len(os.sched_getaffinity(0))
    row("all", f"{total:.3f}", f"{total / walls[0] / cores:.1%} of {cores} cores' time")


def show_convolutions(cycles):
    """Prints what they take alone; returns (seconds, GFLOP) of a cycle."""
    table = collections.defaultdict(lambda: np.zeros(3))  # number, GFLOP, seconds
    for (kind, *rest), number in convolutions(cycles).items():
        work = gflop(kind, *rest)
        table[kind] += number * np.array([1, work, alone_seconds(kind, *rest)])
    total = sum(table.values())
    print("\n| convolutions alone | ops | GFLOP | seconds | GFLOP/s |")
    print("|---|---:|---:|---:|---:|")
    for kind, sums in [*table.items(), ("all", total)]:
        number, work, seconds = sums
        label = f"{kind} ({KERNELS[kind]})" if kind in KERNELS else kind
        figures = f"{number:.0f}", f"{work:.2f}", f"{seconds:.3f}"
        row(label, *figures, f"{work / seconds:.0f}")
    return total[2], total[1]


def convolutions(cycles):
    """{what `described` tells of a convolution: ops of a cycle}."""
    import tensorflow as tf

    batch, calls = next(cycles.batches), collections.Counter()
    for step in range(cycles.steps_of_one):
        calls.update(name for name, _ in cycles.steps.phases(batch, step, cur_nimg=0))
    labels, number = batch["label"], tf.constant(0, tf.int64)
    found = collections.Counter()
    for name in calls.keys() - {"ema"}:
        images = [batch["image"]] if name.startswith("d_") else []
        phase = getattr(cycles.steps, name)
        graph = phase.get_concrete_function(*images, labels, number).graph
        for op in needed(graph):
            if op.type in KERNELS:
                found[described(op)] += calls[name]
    return found


def needed(graph):
    """The ops that a call of a traced function runs: not those that nothing reads."""
    waiting = [tensor.op for tensor in graph.outputs] + list(graph.control_outputs)
    seen = set()
    while waiting:
        op = waiting.pop()
        if op not in seen:
            seen.add(op)
            waiting += [tensor.op for tensor in op.inputs] + list(op.control_inputs)
    return seen


def described(op):
    shapes = tuple(tuple(t.shape) for t in (*op.inputs, op.outputs[0]))
    stock = not op.type.startswith("Tfstylegan")
    strides = tuple(op.get_attr("strides")) if stock else ()
    padding = op.get_attr("padding").decode() if stock else ""
    return op.type, op.outputs[0].dtype, shapes, strides, padding


def gflop(kind, dtype, shapes, strides, padding):
    """2 N H' W' Kh Kw C F: what the direct sum takes."""
    del dtype, strides, padding
    *inputs, result = shapes
    if "Filter" in kind or "KernelGrad" in kind:
        kernel, pixels = result, inputs[-1]
    else:
        kernel, pixels = inputs[1], inputs[2] if "Input" in kind else result
    return 2 * np.prod(pixels[:3]) * np.prod(kernel) / 1e9


def alone_seconds(kind, dtype, shapes, strides, padding):
    """Median time of one convolution that runs alone."""
    import tensorflow as tf

    *shapes, result = shapes
    inputs = [
        tf.cast(tf.random.stateless_normal(shape, [0, i]), dtype)
        for i, shape in enumerate(shapes)
    ]
    options = {"strides": strides, "padding": padding}
    function = tf.function(
        lambda *inputs: convolve(kind, inputs, result, options), autograph=False
    )
    function(*inputs)  # traces
    return np.median([seconds_of(lambda: function(*inputs)) for _ in range(5)])


def convolve(kind, inputs, result, options):
    """The op of a type, with the shape of its result."""
    import tensorflow as tf

    from tfstylegan import ops

    first, second, *last = inputs
    match kind:
        case "Conv2D":
            return tf.raw_ops.Conv2D(input=first, filter=second, **options)
        case "Conv2DBackpropInput":
            return tf.raw_ops.Conv2DBackpropInput(
                input_sizes=result, filter=second, out_backprop=last[0], **options
            )
        case "Conv2DBackpropFilter":
            return tf.raw_ops.Conv2DBackpropFilter(
                input=first, filter_sizes=result, out_backprop=last[0], **options
            )
        case "TfstyleganConv3x3":
            return ops.library.library().tfstylegan_conv3x3(x=first, w=second)
        case "TfstyleganConv3x3KernelGrad":
            library = ops.library.library()
            return library.tfstylegan_conv3x3_kernel_grad(x=first, dy=second)


def row(label, *cells):
    print(f"| {label} | {' | '.join(cells)} |")


if __name__ == "__main__":
    cli.define_config()
    flags.DEFINE_integer("cycles", 2, "Timed cycles, of which the fastest counts.", 1)
    cli.run(main)
