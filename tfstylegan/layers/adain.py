"""Adaptive instance normalisation (StyleGAN, equation 1)."""

import keras
import tensorflow as tf

from tfstylegan import rng
from tfstylegan.layers import equalized, normalization


@keras.saving.register_keras_serializable("tfstylegan")
class AdaIN(keras.layers.Layer):
    """y = (1 + s) (x - mean) / sqrt(variance + 1e-8) + t, for each map of a sample.

    Call with x [N, H, W, C] and w [N, D]; mean and variance are over space, and (s, t)
    [N, 2C] is an affine map of w that starts without bias.
    """

    def __init__(self, *, seed=None, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.seed = seed
        self.normalize = normalization.InstanceNorm(
            dtype=self.dtype_policy, name="normalize"
        )

    def build(self, x_shape, w_shape):
        self.affine = equalized.EqualizedDense(
            2 * x_shape[-1],
            seed=rng.child(self.seed, "affine"),
            dtype=self.variable_dtype,
            name="affine",
        )
        self.affine.build(w_shape)

    def call(self, x, w):
        x = tf.cast(x, self.compute_dtype)
        style = tf.cast(self.affine(w), x.dtype)[:, tf.newaxis, tf.newaxis, :]
        scale, shift = tf.split(style, 2, axis=-1)  # [N, 1, 1, C]
        return self.normalize(x) * (1 + scale) + shift  # [N, H, W, C]

    def compute_output_shape(self, x_shape, w_shape):
        return x_shape

    def get_config(self):
        return {**super().get_config(), "seed": self.seed}
