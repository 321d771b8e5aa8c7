"""How a run computes: the switches of TensorFlow, and its steps compiled by XLA."""

import tensorflow as tf

from tfstylegan import ops


def prepare(precision):
    """Allows TF32 or not, as a `config.PrecisionConfig` says, in the whole process."""
    tf.config.experimental.enable_tensor_float_32_execution(precision.tf32)


def describe(precision):
    """One line: what numbers are computed with."""
    parts = ["float32"]
    if precision.dtype != "float32":
        parts = [f"{precision.dtype} at {precision.num_fp16_res} resolutions", *parts]
    parts.append(f"TF32 {'where GPUs have it' if precision.tf32 else 'off'}")
    return ", ".join([*parts, *["XLA"] * precision.xla])


def compiled(run):
    """`run(function, args=)` compiled by XLA, with the twins of the ops."""

    def compiled_run(function, args):
        @tf.function(jit_compile=True)
        def whole(*args):
            with ops.implementation("reference"):  # XLA does not know the others
                return run(function, args=args)

        return whole(*args)

    return compiled_run
