"""Normalisation of latents and labels to unit second moment (ProGAN, section 4.2)."""

import keras
import tensorflow as tf

EPSILON = 1e-8


@keras.saving.register_keras_serializable("tfstylegan")
class PixelNorm(keras.layers.Layer):
    """y = x / sqrt(mean_c(x^2) + 1e-8) over the last axis; any shape [..., C]."""

    def call(self, x):
        power = tf.reduce_mean(tf.square(x), axis=-1, keepdims=True)  # [..., 1]
        return x * tf.math.rsqrt(power + EPSILON)

    def compute_output_shape(self, input_shape):
        return input_shape
