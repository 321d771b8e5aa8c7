"""How far an image is from another, in a form that can be differentiated."""

import dataclasses
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tfstylegan.ops import resample

SIDE = 256  # pixels; larger images are averaged down to it before LPIPS sees them
SMALLEST = 4  # side of the last level of a pixel pyramid


@dataclasses.dataclass(frozen=True)
class Perceptual:
    """sum over maps of the mean over pixels of sum_c v_c (a_c - b_c)^2.

    manifest: fit for JSON; what sees.
    maps: images [N, H, W, C] in [-1, 1] to maps [N, h, w, F] of some levels.
    weights: v [F] for each level; None where they are 1.
    network: whether maps are those of a network.
    """

    manifest: dict
    maps: Callable
    weights: list | None = None
    network: bool = True

    def distance(self, a, b):
        """[N] of the maps of images, of which one side may be a single image."""
        total = 0.0
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            squares = tf.square(x - y)  # [N, h, w, F]
            if self.weights is not None:
                squares *= self.weights[i]
            total += tf.reduce_mean(tf.reduce_sum(squares, axis=-1), axis=[1, 2])
        return total


def pixels():
    """Mean squared difference in [-1, 1], mean over halved sizes down to 4 pixels."""

    def maps(images):
        levels = [images]
        while _halves(levels[-1].shape):
            levels.append(resample.downsample_2d(levels[-1], None))
        scale = 1 / np.sqrt(len(levels) * images.shape[-1])
        return [level * tf.cast(scale, level.dtype) for level in levels]

    return Perceptual({"distance": "pixels"}, maps, network=False)


def _halves(shape):
    _, height, width, _ = shape
    return min(height, width) >= 2 * SMALLEST and height % 2 == width % 2 == 0


def discriminator(detector):
    """Of a `detectors.discriminator.Discriminator`: its maps at the base grid."""

    def maps(images):
        return [_unit(tf.cast(detector.base(images), tf.float32))]

    return Perceptual({"distance": "discriminator", **detector.manifest}, maps)


def lpips(detector):
    """Of a `detectors.lpips.Lpips`, of images of at most 256 pixels."""

    def maps(images):
        side = min(images.shape[1:3])
        if side < detector.smallest:
            raise ValueError(
                f"LPIPS needs sides of at least {detector.smallest} pixels; got {side}"
            )
        factor = side // SIDE
        if factor > 1:
            images = resample.downsample_box(images, factor)
        if images.shape[-1] == 1:
            images = tf.repeat(images, 3, axis=-1)
        return [_unit(f) for f in detector.stages(images)]

    return Perceptual(
        {"distance": "lpips", **detector.manifest}, maps, detector.weights
    )


def _unit(x):
    """Each pixel's [F] of length 1; with a gradient where all of them are 0."""
    power = tf.reduce_sum(tf.square(x), axis=-1, keepdims=True)
    return x * tf.math.rsqrt(power + 1e-20)
