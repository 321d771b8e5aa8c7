"""Convolutions of every floating type, at a speed that lets one train.

In float16 TensorFlow has fast convolutions for GPUs only: on a CPU its gradients are a
tenth as fast as in float32 (10 against 100 GFLOP/s, measured side by side). There,
float16 operands are widened, which is exact, and the float32 result is rounded: what
GPUs do, which sum products of float16 in float32.

In float32 a CPU with AVX-512 makes 3x3 convolutions by `winograd`.
"""

import tensorflow as tf

from tfstylegan.ops import library, winograd


def conv2d(x, w, stride, padding):
    """`tf.nn.conv2d`: x [N, H, W, C], w [Kh, Kw, C, F] -> [N, H', W', F]."""
    wide, dtype = _wide(x.dtype), x.dtype
    x, w = tf.cast(x, wide), tf.cast(w, wide)
    if winograd.serves(x, w, stride, padding):
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
    if dtype == tf.float16 and _on_cpus():
        return tf.float32
    return dtype


def _on_cpus():
    """Whether graphs traced now run on CPUs only, as far as this machine can know."""
    for_cpus = library.target() == "cpu"
    return for_cpus or not tf.config.list_logical_devices("GPU")
