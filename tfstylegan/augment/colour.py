"""Colour transformations, as one affine map (Karras et al. 2020, appendix B.2).

A colour is the vector (r, g, b, 1), values in [-1, 1]; an image has one 4x4 matrix.
"""

import math

import numpy as np
import tensorflow as tf

from tfstylegan import rng

BRIGHTNESS, LOG2_CONTRAST, LOG2_SATURATION = 0.2, 0.5, 1.0  # standard deviations
GREY = np.array([1, 1, 1, 0], np.float32) / math.sqrt(3)  # the axis of greys
ALONG = np.outer(GREY, GREY)  # projects on it
ACROSS = np.diag(np.array([1, 1, 1, 0], np.float32)) - ALONG
TURNED = np.array(  # GREY x colour
    [[0, -1, 1, 0], [1, 0, -1, 0], [-1, 1, 0, 0], [0, 0, 0, 0]], np.float32
) / math.sqrt(3)
OFFSET = np.diag(np.array([0, 0, 0, 1], np.float32))


def draw(kept, count, key):
    """Matrices [N, 4, 4] of random transformations; arguments as of `geometry.draw`."""

    def uniform(name):
        return rng.uniform(rng.fold(key, name), [count, 1, 1])

    def normal(name, stddev):
        return stddev * rng.normal(rng.fold(key, name), [count, 1, 1])

    steps = [
        ("brightness", lambda name: brightness(normal(name, BRIGHTNESS))),
        ("contrast", lambda name: contrast(2 ** normal(name, LOG2_CONTRAST))),
        ("lumaflip", lambda name: luma_flip(tf.floor(2 * uniform(name)))),
        ("hue", lambda name: hue((2 * uniform(name) - 1) * math.pi)),
        ("saturation", lambda name: saturation(2 ** normal(name, LOG2_SATURATION))),
    ]
    total = tf.eye(4, batch_shape=[count])
    for name, matrix in steps:
        if name in kept:
            chosen = kept[name][:, tf.newaxis, tf.newaxis]
            total = tf.where(chosen, matrix(name) @ total, total)
    return total


def brightness(amount):
    """Adds amount [N, 1, 1] to r, g and b."""
    return tf.eye(4) + amount * np.outer([1, 1, 1, 0], [0, 0, 0, 1]).astype(np.float32)


def contrast(factor):
    """Multiplies r, g and b by factor [N, 1, 1]."""
    return factor * (ALONG + ACROSS) + OFFSET


def luma_flip(flipped):
    """Mirrors the axis of greys where flipped [N, 1, 1] is 1; keeps the saturation."""
    return tf.eye(4) - 2 * flipped * ALONG


def hue(angle):
    """Turns by angle [N, 1, 1], in radians, about the axis of greys (Rodrigues)."""
    return ALONG + tf.cos(angle) * ACROSS + tf.sin(angle) * TURNED + OFFSET


def saturation(factor):
    """Multiplies the distance from the axis of greys by factor [N, 1, 1]."""
    return ALONG + factor * ACROSS + OFFSET


def apply(images, matrices):
    """Transforms every pixel of [N, H, W, 3], or grey [N, H, W, 1].

    A grey value is a colour of three equal parts, and becomes the mean of what they
    become. matrices [N, 4, 4].
    """
    if images.shape[3] == 1:
        mean = tf.reduce_mean(matrices[:, :3], axis=1)[:, tf.newaxis, tf.newaxis]
        factor = tf.reduce_sum(mean[..., :3], axis=3, keepdims=True)
        return images * factor + mean[..., 3:]  # [N, H, W, 1]
    matrices = matrices[:, tf.newaxis]  # [N, 1, 4, 4]
    linear = tf.matmul(images, matrices[..., :3, :3], transpose_b=True)
    return linear + tf.reshape(matrices[..., :3, 3], [-1, 1, 1, 3])  # [N, H, W, 3]
