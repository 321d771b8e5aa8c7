"""Normalisation of latents and features (ProGAN, section 4.2; StyleGAN, section 2)."""

import keras
import tensorflow as tf

EPSILON = 1e-8  # lost in half precision, where squares overflow too: float32 below


def wide(x):
    """x in a type that holds its squares: float32 unless it is float64."""
    return x if x.dtype == tf.float64 else tf.cast(x, tf.float32)


def inverse_deviation(x):
    """1 / sqrt(variance over space + 1e-8) of [N, H, W, C]: [N, C], float32 or 64."""
    variance = tf.math.reduce_variance(wide(x), axis=(1, 2))  # [N, C]
    return tf.math.rsqrt(variance + EPSILON)


@keras.saving.register_keras_serializable("tfstylegan")
class PixelNorm(keras.layers.Layer):
    """y = x / sqrt(mean_c(x^2) + 1e-8) over the last axis; any shape [..., C]."""

    def call(self, x):
        power = tf.reduce_mean(tf.square(wide(x)), axis=-1, keepdims=True)  # [..., 1]
        return x * tf.cast(tf.math.rsqrt(power + EPSILON), x.dtype)

    def compute_output_shape(self, input_shape):
        return input_shape


@keras.saving.register_keras_serializable("tfstylegan")
class InstanceNorm(keras.layers.Layer):
    """y = (x - mean) / sqrt(variance + 1e-8) of each map: [N, H, W, C] -> same."""

    def call(self, x):
        centred = wide(x)
        centred -= tf.reduce_mean(centred, axis=(1, 2), keepdims=True)
        power = tf.reduce_mean(tf.square(centred), axis=(1, 2), keepdims=True)
        return tf.cast(centred * tf.math.rsqrt(power + EPSILON), x.dtype)

    def compute_output_shape(self, input_shape):
        return input_shape
