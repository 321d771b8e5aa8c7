"""Resampling with a FIR low-pass, alone and joined to a convolution (StyleGAN2, B).

Images are [N, H, W, C], convolution weights HWIO [K, K, C, F]. A kernel is given as
taps [K] (separable) or [Kh, Kw] and is normalised here to the sum 1, so that raw taps
such as [1, 3, 3, 1] and the result of `setup_filter` mean the same.
"""

import numpy as np
import tensorflow as tf

from tfstylegan.ops import convolution
from tfstylegan.ops.upfirdn2d import upfirdn2d


def setup_filter(taps):
    """Taps [K] or [Kh, Kw] -> the same taps as a float32 array of sum 1.

    One-dimensional taps stay one-dimensional, which means separable; None is [1].

    Raises:
      ValueError: for other ranks, or taps whose sum is zero or not finite.
    """
    taps = np.asarray([1.0] if taps is None else taps, np.float64)
    if taps.ndim not in (1, 2) or taps.size == 0:
        raise ValueError(f"taps must be [K] or [Kh, Kw], got shape {taps.shape}")
    total = taps.sum()
    if not np.isfinite(total) or total == 0:
        raise ValueError(f"taps must have a finite sum other than zero, got {total}")
    return (taps / total).astype(np.float32)


def upsample_2d(x, kernel, factor=2):
    """[N, H, W, C] -> [N, H * factor, W * factor, C], keeping the mean brightness.

    kernel None is [1] * factor: nearest neighbour.
    """
    _check_factor(factor)
    kernel = setup_filter([1] * factor if kernel is None else kernel)
    pads = []
    for k in _widths(kernel):
        p = k - factor
        pads += [(p + 1) // 2 + factor - 1, p // 2]
    return upfirdn2d(x, kernel, up=factor, padding=pads, gain=float(factor**2))


def downsample_2d(x, kernel, factor=2):
    """[N, H, W, C] -> [N, H // factor, W // factor, C].

    kernel None is [1] * factor: the average of each square.
    """
    _check_factor(factor)
    kernel = setup_filter([1] * factor if kernel is None else kernel)
    pads = []
    for k in _widths(kernel):
        p = k - factor
        pads += [(p + 1) // 2, p // 2]
    return upfirdn2d(x, kernel, down=factor, padding=pads)


def filter_2d(x, kernel):
    """Filters [N, H, W, C], keeping its size."""
    kernel = setup_filter(kernel)
    pads = []
    for k in _widths(kernel):
        pads += [k // 2, (k - 1) // 2]
    return upfirdn2d(x, kernel, padding=pads)


def upsample_nearest(x, factor=2):
    """[N, H, W, C] -> [N, H * factor, W * factor, C]: each pixel repeated.

    `upsample_2d` of kernel None, at a cost that does not grow with factor: an image of
    8 x 8 is enlarged to 1024 x 1024 while a network grows.
    """
    _check_factor(factor)
    batch, height, width, channels = (_dim(x, axis) for axis in range(4))
    x = x[:, :, tf.newaxis, :, tf.newaxis]  # [N, H, 1, W, 1, C]
    x = tf.broadcast_to(x, [batch, height, factor, width, factor, channels])
    return tf.reshape(x, [batch, height * factor, width * factor, channels])


def downsample_box(x, factor=2):
    """[N, H, W, C] -> [N, H // factor, W // factor, C]: the mean of each square.

    `downsample_2d` of kernel None; see `upsample_nearest`.
    """
    _check_factor(factor)
    return tf.nn.avg_pool2d(x, factor, factor, "VALID")


def upsample_conv_2d(x, w, kernel, factor=2):
    """Zero-insertion by factor, correlation with w, low-pass.

    Args:
      x: [N, H, W, C].
      w: [Kh, Kw, C, F].
      kernel: Low-pass taps; None is [1] * factor.
      factor: Integer, at least 1.

    Returns:
      [N, H * factor, W * factor, F].

    The first two steps are one transposed convolution, so no zero is stored. For
    1 x 1 weights the correlation commutes with the rest and is done first, on the
    small image.
    """
    _check_factor(factor)
    x, w = _check_conv(x, w)
    if w.shape[0] == w.shape[1] == 1:
        return upsample_2d(convolution.conv2d(x, w, 1, "VALID"), kernel, factor)
    kernel = setup_filter([1] * factor if kernel is None else kernel)
    shape = [_dim(x, 0)]
    pads = []
    for axis, k in enumerate(_widths(kernel)):
        c = w.shape[axis]
        shape.append((_dim(x, 1 + axis) - 1) * factor + c)
        p = (k - factor) - (c - 1)
        # The transposed convolution ends at the last sample: the factor - 1 zeros
        # that zero-insertion puts after it are added to the padding.
        pads += [(p + 1) // 2 + factor - 1, p // 2 + factor - 1]
    # A transposed convolution is a true convolution: flip w to correlate.
    w = tf.transpose(tf.reverse(w, [0, 1]), [0, 1, 3, 2])  # [Kh, Kw, F, C]
    x = convolution.conv2d_transpose(x, w, [*shape, w.shape[2]], factor, "VALID")
    return upfirdn2d(x, kernel, padding=pads, gain=float(factor**2))


def conv_downsample_2d(x, w, kernel, factor=2):
    """Low-pass, then correlation with w at every factor-th sample.

    Args:
      x: [N, H, W, C].
      w: [Kh, Kw, C, F].
      kernel: Low-pass taps; None is [1] * factor.
      factor: Integer, at least 1.

    Returns:
      [N, H // factor, W // factor, F].
    """
    _check_factor(factor)
    x, w = _check_conv(x, w)
    if w.shape[0] == w.shape[1] == 1:
        return convolution.conv2d(downsample_2d(x, kernel, factor), w, 1, "VALID")
    kernel = setup_filter([1] * factor if kernel is None else kernel)
    pads = []
    for axis, k in enumerate(_widths(kernel)):
        p = (k - factor) + (w.shape[axis] - 1)
        pads += [(p + 1) // 2, p // 2]
    x = upfirdn2d(x, kernel, padding=pads)
    return convolution.conv2d(x, w, factor, "VALID")


def _widths(kernel):
    """(Kh, Kw) of a kernel of either rank."""
    return kernel.shape if kernel.ndim == 2 else (kernel.shape[0], kernel.shape[0])


def _check_factor(factor):
    if not isinstance(factor, (int, np.integer)) or factor < 1:
        raise ValueError(f"factor must be an integer of at least 1, got {factor!r}")


def _check_conv(x, w):
    x, w = tf.convert_to_tensor(x), tf.convert_to_tensor(w)
    if x.shape.rank != 4:
        raise ValueError(f"x must be [N, H, W, C], got shape {x.shape}")
    if w.shape.rank != 4 or w.shape[2] != x.shape[3]:
        raise ValueError(
            f"w must be [Kh, Kw, C, F] with the C of x, got {w.shape} for x {x.shape}"
        )
    return x, w


def _dim(x, axis):
    """Length of an axis: an int where known, otherwise a scalar tensor."""
    return tf.shape(x)[axis] if x.shape[axis] is None else x.shape[axis]
