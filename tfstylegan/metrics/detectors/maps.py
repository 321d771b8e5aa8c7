"""Distance of images by the maps of a network (Zhang et al. 2018, equation 1)."""

import tensorflow as tf


def unit_distance(a, b, weights=None):
    """sum over layers of the mean over pixels of sum_c w_c (a_c - b_c)^2: [N].

    a, b: maps [N, h, w, C] of some layers; each pixel's C values are scaled to unit
    length first. weights: [C] of each layer, all 1 where None.
    """
    total = 0.0
    for i, (x, y) in enumerate(zip(a, b, strict=True)):
        squares = tf.square(_unit(x) - _unit(y))  # [N, h, w, C]
        if weights is not None:
            squares *= weights[i]
        total += tf.reduce_mean(tf.reduce_sum(squares, axis=-1), axis=[1, 2])
    return total


def _unit(x):
    length = tf.sqrt(tf.reduce_sum(tf.square(x), axis=-1, keepdims=True))
    return x / (length + 1e-10)
