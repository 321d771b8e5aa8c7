"""Spectral normalisation of equalised layers (Miyato et al. 2018; StyleGAN2, E)."""

import keras
import tensorflow as tf

from tfstylegan import rng

MOVING = "vector_u"  # name of the variable that calls with training=True move


@keras.saving.register_keras_serializable("tfstylegan")
class SpectralNorm(keras.layers.SpectralNormalization):
    """Wraps an equalised layer, whose kernel it divides by its largest singular value.

    The power iteration is that of Keras, one step at each call with training=True. What
    Keras does with the result is not for equalised layers: it overwrites the kernel,
    which their own factor then scales down once more: with 64 channels the signal
    gets 30 times weaker in each layer. Here the quotient, times the `kernel_gain` of
    the layer, takes the place of the scaled kernel; the kernel stays as it is, and
    gradients pass through the quotient.
    """

    def __init__(self, layer, *, seed=None, **kwargs):
        super().__init__(layer, **kwargs)
        self.seed = seed

    def build(self, input_shape):
        if not self.layer.built:
            self.layer.build(input_shape)
        self.kernel = self.layer.kernel
        self.kernel_shape = self.kernel.shape
        # Each replica assigns its own copy, to the same value: no communication, which
        # would be impossible within a loop.
        with tf.variable_creator_scope(_synchronised_on_read):
            self.vector_u = self.add_weight(
                name=MOVING,
                shape=(1, self.kernel_shape[-1]),
                initializer=rng.normal_initializer(self.seed, MOVING),
                trainable=False,
                autocast=False,
                aggregation="only_first_replica",
            )

    def call(self, x, training=False):
        vector_u, kernel = self.normalized_weights()
        if training:
            self.vector_u.assign(vector_u)
        return self.layer.transform(x, kernel, self.layer.kernel_gain)

    def get_config(self):
        return {**super().get_config(), "seed": self.seed}


def _synchronised_on_read(create, **kwargs):
    on_read = tf.VariableSynchronization.ON_READ
    return create(**{**kwargs, "synchronization": on_read})
