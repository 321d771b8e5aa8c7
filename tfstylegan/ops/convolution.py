"""Convolutions of every floating type, at a speed that lets one train.

In float16 TensorFlow has fast convolutions for GPUs only: on a CPU its gradients are a
tenth as fast as in float32 (10 against 100 GFLOP/s, measured side by side). There,
float16 operands are widened, which is exact, and the float32 result is rounded: what
GPUs do, which sum products of float16 in float32.

In float32 a CPU with AVX-512 makes 3x3 convolutions by `winograd`.
"""

import tensorflow as tf

from tfstylegan.ops import winograd


def conv2d(x, w, stride, padding, *, large=True):
    """`tf.nn.conv2d`: x [N, H, W, C], w [Kh, Kw, C, F] -> [N, H', W', F].

    Of fewer than about 500 pixels, which are not `large`, Winograd's convolution would
    take longer for its kernel than it saves.
    """
    wide, dtype = _wide(x.dtype), x.dtype
    x, w = tf.cast(x, wide), tf.cast(w, wide)
    if large and winograd.serves(x, w, stride, padding):
        y = winograd.conv3x3(x, w)
    else:
        y = tf.nn.conv2d(x, w, stride, padding)
    return tf.cast(y, dtype)


def conv2d_transpose(x, w, shape, stride, padding):
    """`tf.nn.conv2d_transpose`: x [N, H, W, C], w [Kh, Kw, F, C] -> `shape`."""
    wide = _wide(x.dtype)
    x, dtype = tf.cast(x, wide), x.dtype
    y = tf.nn.conv2d_transpose(x, tf.cast(w, wide), shape, stride, padding)
    return tf.cast(y, dtype)


def _wide(dtype):
    """The type to convolve in."""
    if dtype == tf.float16 and not tf.config.list_logical_devices("GPU"):
        return tf.float32
    return dtype
