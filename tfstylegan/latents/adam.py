"""Adam whose step passes over memory once (Kingma and Ba, arXiv:1412.6980).

Keras' makes ten passes, which beside small networks and large noise maps is seen.
"""

import keras
import tensorflow as tf

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


class Adam:
    """The moments of some variables, by TensorFlow's fused kernel.

    x - lr sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + epsilon), as Keras has it.

    Args:
      variables: float32 Keras variables.
    """

    def __init__(self, variables):
        self._targets = list(variables)
        self._first, self._second = (
            [
                keras.Variable(tf.zeros(v.shape), name=f"{v.name}_{name}")
                for v in self._targets
            ]
            for name in ("first", "second")
        )
        self.steps_done = keras.Variable(0, dtype="int64", name="steps_done")

    @property
    def variables(self):
        """What a later step depends on, beside the variables themselves."""
        return [self.steps_done, *self._first, *self._second]

    def apply(self, gradients, lr):
        """One step; lr is a scalar."""
        self.steps_done.assign_add(1)
        t = tf.cast(self.steps_done.value, tf.float32)
        moments = zip(self._targets, self._first, self._second, gradients, strict=True)
        for variable, first, second, gradient in moments:
            tf.raw_ops.ResourceApplyAdam(
                var=variable.value.handle,
                m=first.value.handle,
                v=second.value.handle,
                beta1_power=BETA1**t,
                beta2_power=BETA2**t,
                lr=lr,
                beta1=BETA1,
                beta2=BETA2,
                epsilon=EPSILON,
                grad=gradient,
            )
