"""Loss scaling: gradients of float16 kept above its smallest numbers.

float16 has no normal numbers below 6e-5, where most gradients lie; bfloat16 has the
range of float32 and needs nothing of this. Source: Micikevicius et al. 2018, "Mixed
Precision Training".

A penalty of a gradient has two scales. The inner gradient is taken of the logits, or
of the image along a direction, times `GRADIENT_SCALE`, and divided by it in float32;
the penalty is then scaled as any other loss. What flows back to the inner gradient has
the ratio of both scales, so that the inner one, a constant, is the smaller.
"""

import keras
import tensorflow as tf

GRADIENT_SCALE = 256.0  # of inner gradients; a power of two rounds nothing


def gradient_scale(config):
    """Factor of inner gradients in a run of a `config.Config`."""
    return GRADIENT_SCALE if config.precision.dtype == "float16" else 1.0


def scaled(optimizer, config):
    """The optimizer, with a `LossScale` around it where the run computes in float16."""
    if config.precision.dtype != "float16":
        return optimizer
    return LossScale(optimizer, name=f"{optimizer.name}_scale")


class LossScale(keras.optimizers.LossScaleOptimizer):
    """Keras' dynamic loss scaling, for several replicas, counting what it skips.

    A step with a gradient that is not finite changes nothing but the scale, which is
    halved; after 2000 good steps it is doubled. Scale, good steps and skipped steps
    are variables of the optimizer, hence saved with it.
    """

    def build(self, variables):
        super().build(variables)
        self.skipped = self.add_variable(
            shape=(),
            dtype="int32",
            initializer="zeros",
            aggregation="only_first_replica",
            name="skipped",
        )

    def check_finite(self, grads):
        """Whether the gradients of all replicas are finite; counts where not.

        Keras looks at the first replica, before the gradients are summed: the others
        could leave the sum not finite.
        """
        finite = super().check_finite(grads)
        context = tf.distribute.get_replica_context()
        if context.num_replicas_in_sync > 1:
            bad = tf.cast(tf.logical_not(finite), tf.int32)
            finite = tf.equal(context.all_reduce(tf.distribute.ReduceOp.SUM, bad), 0)
        self.skipped.assign_add(tf.cast(tf.logical_not(finite), tf.int32))
        return finite


def progress(state):
    """Scalars for the report: scale and skipped steps of each network."""
    found = {}
    for name in ("g", "d"):
        optimizer = getattr(state, f"{name}_optimizer")
        if isinstance(optimizer, LossScale):
            scale, skipped = optimizer.dynamic_scale, optimizer.skipped
            found[f"precision/loss_scale_{name}"] = float(scale.numpy())
            found[f"precision/skipped_steps_{name}"] = int(skipped.numpy())
    return found
