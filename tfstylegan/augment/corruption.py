"""Noise and cutout (Karras et al. 2020, appendix B.2)."""

import tensorflow as tf

from tfstylegan import rng

STDDEV = 0.1  # of the half-normal standard deviation of the noise
SIDE = 0.5  # of a cutout, in image sides
NOWHERE = -1.0  # centre of a cutout that no pixel is in


def draw_noise(kept, count, shape, key):
    """Noise [N, H, W, C] for the images that `kept`, bool [N], names, 0 for others.

    It is normal, of a standard deviation |N(0, 0.1^2)| that an image has for itself.
    """
    sigma = tf.abs(STDDEV * rng.normal(rng.fold(key, "sigma"), [count]))
    sigma = tf.where(kept, sigma, 0.0)[:, tf.newaxis, tf.newaxis, tf.newaxis]
    return sigma * rng.normal(rng.fold(key, "noise"), [count, *shape])


def draw_cutout(kept, count, key):
    """Centres (y, x) of cutouts [N, 2], uniform, in image sides; else NOWHERE."""
    centre = rng.uniform(rng.fold(key, "cutout"), [count, 2])
    return tf.where(kept[:, tf.newaxis], centre, NOWHERE)


def cut_out(images, centre):
    """Sets a rectangle of [N, H, W, C] to 0, of half the sides; centre [N, 2]."""
    _, height, width, _ = images.shape
    inside = [
        tf.abs(_places(length) - centre[:, axis, tf.newaxis]) < SIDE / 2
        for axis, length in enumerate((height, width))
    ]
    hole = inside[0][:, :, tf.newaxis] & inside[1][:, tf.newaxis]  # [N, H, W]
    return tf.where(hole[..., tf.newaxis], tf.zeros([], images.dtype), images)


def _places(length):
    """Centres of the pixels of a side [1, length], in image sides."""
    return (tf.range(length, dtype=tf.float32) + 0.5)[tf.newaxis] / length
