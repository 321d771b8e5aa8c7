"""Noise input (StyleGAN, section 2; StyleGAN2, section 2.2) of learned strength."""

import keras
import tensorflow as tf

from tfstylegan import rng


@keras.saving.register_keras_serializable("tfstylegan")
class NoiseInput(keras.layers.Layer):
    """y = x + strength * noise, the noise shared by all channels.

    The strength is one number (StyleGAN2), or one a channel with `per_channel`
    (StyleGAN). Call with x [N, H, W, C] and noise [N or 1, H, W, 1]. `fixed`, [1, H, W,
    1], is a noise map drawn once and saved with the layer, for repeatable images.
    """

    def __init__(self, *, per_channel=False, seed=None, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.per_channel = per_channel
        self.seed = seed

    def build(self, x_shape, noise_shape=None):
        shape = (x_shape[-1],) if self.per_channel else ()
        self.strength = self.add_weight(
            name="strength", shape=shape, initializer="zeros", autocast=False
        )
        self.fixed = self.add_weight(
            name="fixed",
            shape=(1, *x_shape[1:3], 1),
            initializer=rng.normal_initializer(self.seed, "fixed"),
            trainable=False,
            autocast=False,
        )

    def call(self, x, noise):
        noise = tf.cast(noise, self.variable_dtype) * self.strength  # rounded once
        x = tf.cast(x, self.compute_dtype)
        return x + tf.cast(noise, x.dtype)  # [N, H, W, C]

    def compute_output_shape(self, x_shape, noise_shape=None):
        return x_shape

    def get_config(self):
        return {
            **super().get_config(),
            "per_channel": self.per_channel,
            "seed": self.seed,
        }
