"""Image-space filtering: octaves are amplified (Karras et al. 2020, appendix B.2)."""

import numpy as np
import tensorflow as tf

from tfstylegan import rng
from tfstylegan.augment import wavelets

BANDS = wavelets.octave_bands(wavelets.SYM2)  # [4, 43], lowest first
POWER = np.array([10, 1, 1, 1], np.float32) / 13  # of a natural image in each band
LOG2_GAIN = 1.0  # standard deviation


def draw(kept, count, key):
    """Gains [N, 4] of the bands; kept bool [N, 4], which of them are amplified.

    Each amplification is followed by a normalisation of all gains to the power that is
    expected of a natural image.
    """
    factors = 2 ** (LOG2_GAIN * rng.normal(rng.fold(key, "gains"), [count, len(BANDS)]))
    gains = tf.ones([count, len(BANDS)])
    for band, here in enumerate(np.eye(len(BANDS), dtype=bool)):
        amplified = tf.where(here, factors, 1.0)  # [N, 4]
        power = tf.reduce_sum(POWER * tf.square(amplified), axis=1, keepdims=True)
        chosen = kept[:, band, tf.newaxis]
        gains = tf.where(chosen, gains * amplified / tf.sqrt(power), gains)
    return gains


def apply(images, gains):
    """Filters the rows and the columns of [N, H, W, C]; gains [N, 4].

    The reflection at the borders is part of the matrices: H W (H + W) multiplications,
    for 32 x 32 fewer than with the taps, which only pay off beyond some 64 x 64.
    """
    _, height, width, _ = images.shape
    along_y = tf.tensordot(gains, band_matrices(height), 1)  # [N, H, H]
    along_x = tf.tensordot(gains, band_matrices(width), 1)  # [N, W, W]
    images = tf.einsum("nhi,niwc->nhwc", along_y, images)
    return tf.einsum("nwi,nhic->nhwc", along_x, images)


def band_matrices(length):
    """The bands as matrices [4, length, length]; signals are reflected at both ends."""
    reach = BANDS.shape[1] // 2
    place = np.arange(length)[:, np.newaxis] + np.arange(-reach, reach + 1)
    period = max(2 * (length - 1), 1)
    place = np.abs(place) % period
    place = np.minimum(place, period - place) if length > 1 else place * 0
    matrices = np.zeros([len(BANDS), length, length])
    for matrix, taps in zip(matrices, BANDS, strict=True):
        rows = np.broadcast_to(np.arange(length)[:, np.newaxis], place.shape)
        np.add.at(matrix, (rows, place), np.broadcast_to(taps, place.shape))
    return matrices.astype(np.float32)
