"""Noise input (StyleGAN2, section 2.2): one learned strength a layer."""

import keras
import tensorflow as tf

from tfstylegan import rng


@keras.saving.register_keras_serializable("tfstylegan")
class NoiseInput(keras.layers.Layer):
    """y = x + strength * noise, the noise shared by all channels.

    Call with x [N, H, W, C] and noise [N or 1, H, W, 1]. `fixed`, [1, H, W, 1], is a
    noise map drawn once and saved with the layer, for repeatable images.
    """

    def __init__(self, *, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.seed = seed

    def build(self, x_shape, noise_shape=None):
        self.strength = self.add_weight(name="strength", shape=(), initializer="zeros")
        self.fixed = self.add_weight(
            name="fixed",
            shape=(1, *x_shape[1:3], 1),
            initializer=rng.normal_initializer(self.seed, "fixed"),
            trainable=False,
        )

    def call(self, x, noise):
        return x + tf.cast(noise * self.strength, x.dtype)  # [N, H, W, C]

    def compute_output_shape(self, x_shape, noise_shape=None):
        return x_shape

    def get_config(self):
        return {**super().get_config(), "seed": self.seed}
