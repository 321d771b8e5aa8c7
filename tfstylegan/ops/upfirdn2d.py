"""Upsample, pad, filter with a FIR kernel, downsample (StyleGAN2, appendix B).

All work is done by one linear map, P(x; taps, size, up, down, pad0). Per axis,
with K taps and `up(x)` the input with up - 1 zeros after every sample,

    y[o] = sum_k taps[k] * up(x)[o * down + k - pad0],    0 <= o < size,

where up(x) is zero outside its range. The transpose of P is P again, with the taps
reversed, up and down exchanged, pad0 replaced by K - 1 - pad0 and the length of x as
its size. Both implementations use this for their gradient, so that derivatives of
every order exist and each costs what the forward pass costs.
"""

import numbers

import numpy as np
import tensorflow as tf

from tfstylegan.ops import library

_FLOATS = (tf.float32, tf.float64, tf.bfloat16, tf.float16)


def upfirdn2d(
    x,
    kernel,
    *,
    up=1,
    down=1,
    padding=(0, 0, 0, 0),
    flip_kernel=False,
    gain=1.0,
    impl="auto",
):
    """Upsamples, pads, filters and downsamples a batch of images, in this order.

    Per axis: insert up - 1 zeros after every sample (the last too), pad (negative:
    crop), convolve with `kernel` keeping only full overlaps, keep every down-th
    sample from the first. The length becomes
    (length * up + pad0 + pad1 - K) // down + 1.

    Args:
      x: [N, H, W, C], float32, float64, bfloat16 or float16.
      kernel: FIR taps, a constant: [Kh, Kw]; [K], meaning the outer product with
        itself; or None, meaning [[1]]. Not differentiated.
      up, down: Positive integer, or (y, x).
      padding: (y0, y1, x0, x1) in samples after the zeros are inserted.
      flip_kernel: False is a true convolution; True correlates with `kernel`.
      gain: Scales the result.
      impl: "auto", "compiled" (an error where there is none) or "reference".

    Returns:
      [N, H', W', C] of the type of x.

    Raises:
      ValueError: for an argument out of its range, or an output without samples.
      RuntimeError: for impl="compiled" where the compiled op is not available.

    Source: StyleGAN2 (arXiv:1912.04958), appendix B.
    """
    x = tf.convert_to_tensor(x)
    if x.shape.rank != 4:
        raise ValueError(f"x must be [N, H, W, C], got shape {x.shape}")
    if x.dtype not in _FLOATS:
        raise ValueError(f"x must be a floating-point tensor, got {x.dtype.name}")
    taps = _correlation_taps(kernel, flip_kernel, gain)  # [Kh, Kw]
    up = _factors("up", up)
    down = _factors("down", down)
    padding = _padding(padding)
    size = []
    for axis in range(2):
        pads = padding[2 * axis : 2 * axis + 2]
        span = _dim(x, 1 + axis) * up[axis] + sum(pads) - taps.shape[axis]
        if isinstance(span, int) and span < 0:
            raise ValueError(
                f"kernel must fit into the padded input: {taps.shape[axis]} taps for "
                f"{span + taps.shape[axis]} samples along {'yx'[axis]} (x {x.shape}, "
                f"up {up}, padding {padding})"
            )
        if not isinstance(span, int):
            what = (
                f"kernel must fit into the padded input: {taps.shape[axis]} taps along "
                f"{'yx'[axis]}, up {up}, padding {padding}, x"
            )
            with tf.control_dependencies(
                [tf.debugging.Assert(span >= 0, [what, tf.shape(x)])]
            ):
                span = tf.identity(span)
        size.append(span // down[axis] + 1)
    pad0 = (padding[0], padding[2])
    if library.use_compiled(impl):
        return _compiled(x, taps, size, up, down, pad0)
    return _reference(x, taps, size, up, down, pad0)


def _reference(x, taps, size, up, down, pad0):
    """P in TensorFlow, from the definition, with its transpose as gradient."""

    @tf.custom_gradient
    def apply(x):
        in_size = [_dim(x, 1), _dim(x, 2)]

        def gradient(dy):
            pads = tuple(k - 1 - p for k, p in zip(taps.shape, pad0))
            return _reference(dy, taps[::-1, ::-1], in_size, down, up, pads)

        return _reference_forward(x, taps, size, up, down, pad0), gradient

    return apply(x)


def _reference_forward(x, taps, size, up, down, pad0):
    dtype, static_batch, channels = x.dtype, x.shape[0], _dim(x, 3)
    if any(isinstance(d, int) and d == 0 for d in (static_batch, *size, channels)):
        return tf.zeros([_dim(x, 0), *size, channels], dtype)
    if dtype in (tf.bfloat16, tf.float16):
        x = tf.cast(x, tf.float32)  # sums of small types are kept in float32
    if up != (1, 1):  # zeros behind each pixel, then behind each row
        n, h, w = _dim(x, 0), _dim(x, 1), _dim(x, 2)
        row = w * up[1] * channels
        # Padded at the end of few axes, which converters to other formats know.
        x = tf.pad(x, [[0, 0], [0, 0], [0, 0], [0, (up[1] - 1) * channels]])
        x = tf.reshape(x, [n, h, row])
        x = tf.pad(x, [[0, 0], [0, 0], [0, (up[0] - 1) * row]])
        x = tf.reshape(x, [n, h * up[0], w * up[1], channels])
    pads, begin, span = [], [], []
    for axis in range(2):
        length = (size[axis] - 1) * down[axis] + taps.shape[axis]
        after = length - pad0[axis] - _dim(x, 1 + axis)
        pads.append([max(pad0[axis], 0), _at_least_zero(after)])
        begin.append(max(-pad0[axis], 0))
        span.append(length)
    x = tf.pad(x, [[0, 0], *pads, [0, 0]])
    x = x[:, begin[0] : begin[0] + span[0], begin[1] : begin[1] + span[1], :]

    # A depthwise convolution wants equal strides; the rest is cut afterwards. Only its
    # forward pass is ever used (the gradient is above): the others are slow on CPU.
    stride = down[0] if down[0] == down[1] else 1
    factors = _factorise(taps) if max(taps.shape) > 8 else None
    if factors is None:
        x = _depthwise(x, taps, channels, stride)
    else:
        x = _depthwise(x, factors[0][:, np.newaxis], channels, 1)
        x = _depthwise(x, factors[1][np.newaxis, :], channels, stride)
    if stride != down[0] or stride != down[1]:
        x = x[:, :: down[0], :: down[1], :]
    x.set_shape(
        [static_batch, *(s if isinstance(s, int) else None for s in size), None]
    )
    return tf.cast(x, dtype)


def _depthwise(x, taps, channels, stride):
    """Correlates every channel of x [N, H, W, C] with taps [Kh, Kw], no padding."""
    taps = tf.constant(taps[:, :, np.newaxis, np.newaxis], x.dtype)
    taps = tf.tile(taps, [1, 1, channels, 1])  # [Kh, Kw, C, 1]
    return tf.nn.depthwise_conv2d(x, taps, [1, stride, stride, 1], "VALID")


def _compiled(x, taps, size, up, down, pad0):
    """P in C++ (`custom_ops/upfirdn2d.cc`)."""
    taps = tf.convert_to_tensor(taps, tf.float64)
    return library.library().tfstylegan_upfirdn2d(
        x=x, taps=taps, size=size, up=up, down=down, pad0=pad0
    )


@tf.RegisterGradient("TfstyleganUpfirdn2d")
def _compiled_gradient(op, dy):
    x, taps, _ = op.inputs
    up, down = op.get_attr("up"), op.get_attr("down")
    pads = [k - 1 - p for k, p in zip(taps.shape, op.get_attr("pad0"))]
    size = [_dim(x, 1), _dim(x, 2)]
    taps = tf.reverse(taps, [0, 1])
    return _compiled(dy, taps, size, up=down, down=up, pad0=pads), None, None


def _factorise(taps):
    """Vectors (a, b) with taps = outer(a, b) to float64 accuracy, or None."""
    row, column = np.unravel_index(np.argmax(np.abs(taps)), taps.shape)
    pivot = taps[row, column] or 1.0
    root = np.sqrt(np.abs(pivot))  # shares the scale between both
    a, b = taps[:, column] / root, taps[row, :] / (pivot / root)
    close = np.max(np.abs(np.outer(a, b) - taps)) <= 1e-13 * np.abs(pivot)
    return (a, b) if close else None


def _correlation_taps(kernel, flip_kernel, gain):
    """The float64 array [Kh, Kw] to correlate with."""
    if kernel is None:
        kernel = np.ones([1, 1])
    elif tf.is_tensor(kernel):
        value = tf.get_static_value(kernel)
        if value is None:
            raise ValueError(f"kernel must be a constant, got the tensor {kernel}")
        kernel = value
    kernel = np.asarray(kernel, np.float64)
    if kernel.ndim not in (1, 2) or kernel.size == 0:
        raise ValueError(f"kernel must be [K] or [Kh, Kw], got shape {kernel.shape}")
    if kernel.ndim == 1:
        kernel = np.outer(kernel, kernel)
    if not flip_kernel:
        kernel = kernel[::-1, ::-1]
    return np.ascontiguousarray(kernel * float(gain))


def _factors(name, value):
    """(y, x) from an integer or a pair, each at least 1."""
    pair = (value, value) if isinstance(value, numbers.Integral) else value
    if np.shape(pair) != (2,) or not all(isinstance(v, numbers.Integral) for v in pair):
        raise ValueError(f"{name} must be an integer or (y, x), got {value!r}")
    if min(pair) < 1:
        raise ValueError(f"{name} must be at least 1, got {value!r}")
    return int(pair[0]), int(pair[1])


def _padding(value):
    if np.shape(value) != (4,) or not all(
        isinstance(v, numbers.Integral) for v in value
    ):
        raise ValueError(f"padding must be integers (y0, y1, x0, x1), got {value!r}")
    return tuple(int(v) for v in value)


def _dim(x, axis):
    """Length of an axis: an int where known, otherwise a scalar tensor."""
    return tf.shape(x)[axis] if x.shape[axis] is None else x.shape[axis]


def _at_least_zero(value):
    return max(value, 0) if isinstance(value, int) else tf.maximum(value, 0)
