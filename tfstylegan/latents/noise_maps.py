"""Noise maps that are optimised but must stay noise (StyleGAN2, appendix D)."""

import tensorflow as tf

from tfstylegan.ops import resample

WEIGHT = 1e5
SMALLEST = 8  # side at which no coarser scale follows


def regulariser(maps):
    """How much maps [N, h, w, 1] correlate with themselves one pixel aside: [N].

    sum over maps and scales of mean(v roll_x(v))^2 + mean(v roll_y(v))^2, where the
    next scale is the mean over 2x2, until a side is at most 8. The paper doubles what
    it pools; the published code, and this, do not.
    """
    scales = {}  # what is to be looked at, by its size; all of one size at once
    for v in maps:
        scales.setdefault(tuple(v.shape[1:3]), []).append(v[tf.newaxis])
    total = 0.0
    while scales:
        height, width = size = max(scales)
        v = tf.concat(scales.pop(size), axis=0)  # [M, N, h, w, 1]
        for axis in (2, 3):
            product = v * tf.roll(v, 1, axis)
            squares = tf.square(tf.reduce_mean(product, axis=[2, 3, 4]))  # [M, N]
            total += tf.reduce_sum(squares, axis=0)
        if min(size) > SMALLEST:
            half = height // 2, width // 2
            v = resample.downsample_2d(tf.reshape(v, [-1, *size, 1]), None)
            v = tf.reshape(v, [-1, maps[0].shape[0], *half, 1])
            scales.setdefault(half, []).append(v)
    return total


def normalised(v):
    """Maps [N, h, w, 1] of mean 0 and (population) standard deviation 1."""
    v = v - tf.reduce_mean(v, axis=[1, 2, 3], keepdims=True)
    power = tf.reduce_mean(tf.square(v), axis=[1, 2, 3], keepdims=True)
    return v * tf.math.rsqrt(power)
