"""Geometric transformations, as one resampling (Karras et al. 2020, appendix B.2).

Coordinates are in pixels from the centre of the image, x to the right and y down. The
transformations of an image are composed into the matrix that takes a place in the
result to the place in the original that is shown there.
"""

import math

import numpy as np
import tensorflow as tf

from tfstylegan import ops, rng
from tfstylegan.augment import resampling, wavelets

TAPS = wavelets.SYM6 / wavelets.SYM6.sum()
# Samples of the doubled grid beyond the image that the last low-pass reads.
BEFORE = AFTER = len(TAPS) // 2 - 1
# Pixels beyond a place in the doubled grid that its value depends on: half a pixel for
# the bilinear neighbour, then half the taps of the first low-pass.
REACH = 0.5 + len(TAPS) / 4
# The filter is not quite symmetric. In the doubled grid an image lies this many pixels
# off its place; without a correction, a mirrored one would end 2 of them from where it
# belongs (0.4 pixels: ten times the error of a mirrored digit).
DELAY = ((len(TAPS) - 1) / 2 - np.arange(len(TAPS)) @ TAPS) / 2
SHIFT = 0.125  # of an image side: largest integer and typical fractional shift
LOG2_SCALE = 0.2  # standard deviation


def draw(kept, count, size, key):
    """Inverse matrices [N, 3, 3] of random transformations.

    Args:
      kept: {name: bool [N]}, which images each transformation is for; those that are
        missing are not carried out.
      count: N.
      size: image (height, width). Where they differ, rotations by 90 degrees are of 0
        or 180 only.
      key: stateless seed.
    """
    height, width = size
    extent = tf.constant([width, height], tf.float32)

    def uniform(name, shape=()):
        return rng.uniform(rng.fold(key, name), [count, *shape])

    def normal(name, shape=()):
        return rng.normal(rng.fold(key, name), [count, *shape])

    def quarter_turn():
        turns = tf.floor(uniform("rotate90") * (4 if height == width else 2))
        return rotation(turns * (math.pi / 2 if height == width else math.pi))

    def stretch():
        factor = 2 ** (LOG2_SCALE * normal("aniso"))
        return scaling(1 / factor, factor)

    def xint():
        fraction = SHIFT * (2 * uniform("xint", [2]) - 1)
        return translation(-tf.round(fraction * extent))

    # What is applied first stands leftmost in the inverse.
    steps = [
        ("xflip", lambda: scaling(1 - 2 * tf.floor(2 * uniform("xflip")), 1.0)),
        ("rotate90", quarter_turn),
        ("xint", xint),
        ("scale", lambda: scaling(*[2 ** (-LOG2_SCALE * normal("scale"))] * 2)),
        ("rotate_before", lambda: rotation(_angle(uniform("rotate_before")))),
        ("aniso", stretch),
        ("rotate_after", lambda: rotation(_angle(uniform("rotate_after")))),
        ("xfrac", lambda: translation(-SHIFT * normal("xfrac", [2]) * extent)),
    ]
    inverse = tf.eye(3, batch_shape=[count])
    for name, matrix in steps:
        if name in kept:
            chosen = kept[name][:, tf.newaxis, tf.newaxis]
            inverse = tf.where(chosen, inverse @ matrix(), inverse)
    return inverse


def rotation(angle):
    """Matrices [N, 3, 3] that turn by angle [N], in radians."""
    cos, sin = tf.cos(angle), tf.sin(angle)
    return _matrices([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])


def scaling(x, y):
    """Matrices [N, 3, 3] that multiply by x [N] and y [N] or a number."""
    return _matrices([[x, 0.0, 0.0], [0.0, y, 0.0], [0.0, 0.0, 1.0]])


def translation(shift):
    """Matrices [N, 3, 3] that add shift [N, 2], (x, y) in pixels."""
    x, y = tf.unstack(shift, axis=1)
    return _matrices([[x * 0 + 1, 0.0, x], [0.0, 1.0, y], [0.0, 0.0, 1.0]])


def warp(images, inverse):
    """Shows at every place p of the result the place `inverse` p of the images.

    Reflects the images at their borders, doubles their resolution with a low-pass,
    samples bilinearly on the doubled grid of the result, and halves that with the same
    filter reversed in time: the identity then changes nothing but rounding errors. What
    lies further away than a whole image is 0.

    The margin of reflections is as wide as this batch needs and at most side - 1. An
    image is not changed by a wider margin than its own: results do not depend on the
    other images. Every width is computed, not traced.

    Args:
      images: [N, H, W, C], H and W static.
      inverse: [N, 3, 3].

    Returns: [N, H, W, C].
    """
    height, width = images.shape[1:3]
    sides = np.array([width, height], np.float32)
    # Of the doubled grid, sample i of the result lies at (i + start) / 2.
    start = 0.5 - BEFORE - sides + 2 * DELAY
    samples = 2 * sides + (BEFORE + AFTER)
    to_original = inverse @ _affine(0.5, start / 2)
    margin = _margin(to_original, samples, sides)  # [2]
    before = sides + 2 * tf.cast(margin, tf.float32) - 2 * DELAY - 0.5
    pads = [[0, 0], [margin[1]] * 2, [margin[0]] * 2, [0, 0]]
    canvas = tf.pad(images, pads, "REFLECT")
    half = len(TAPS) // 2
    canvas = ops.upfirdn2d(
        canvas, TAPS, up=2, padding=(half, half - 1) * 2, gain=4.0
    )  # [N, 2 (H + 2 margin), 2 (W + 2 margin), C]
    size = tuple(int(n) for n in samples[::-1])
    sampled = resampling.sample(canvas, _affine(2.0, before) @ to_original, size)
    return ops.upfirdn2d(sampled, TAPS, down=2, flip_kernel=True)


def _affine(factor, shift):
    """The matrix [3, 3] of p -> factor p + shift [2]."""
    x, y = tf.unstack(tf.cast(shift, tf.float32))
    return tf.reshape(tf.stack([factor, 0.0, x, 0.0, factor, y, 0.0, 0.0, 1.0]), [3, 3])


def _margin(to_original, samples, sides):
    """Pixels of margin (x, y) that a batch needs, int32 [2].

    Sample i of the result, of 0 <= i < samples, shows the place `to_original` i.
    """
    right, bottom = samples - 1
    corners = [[0, right, 0, right], [0, 0, bottom, bottom], [1, 1, 1, 1]]
    places = to_original @ tf.constant(corners, tf.float32)  # [N, 3, 4]
    furthest = tf.reduce_max(tf.abs(places[:, :2]), axis=[0, 2]) + (REACH - sides / 2)
    # Clipped before it is cast: beyond int32 the result would be anything.
    return tf.cast(tf.math.ceil(tf.clip_by_value(furthest, 0, sides - 1)), tf.int32)


def _angle(uniform):
    return (2 * uniform - 1) * math.pi


def _matrices(rows):
    """[N, 3, 3] of rows of numbers and tensors [N]."""
    like = next(x for row in rows for x in row if tf.is_tensor(x))
    filled = [tf.broadcast_to(x, like.shape) for row in rows for x in row]
    return tf.reshape(tf.stack(filled, axis=1), [-1, 3, 3])
