"""What follows a modulated convolution, in one pass (StyleGAN2, figure 2d).

    y = clamp(gain * act(x * scale + strength * noise + bias), -clamp, clamp)

scale is the demodulation factor. For the piecewise linear activations slope * a = y,
where a is the argument of act, so that the gradient in the scale,

    d_scale = sum of da * x = sum of (dy * y - da * (strength * noise + bias)) / scale,

needs the output and not x: of the whole chain y alone is kept for the backward pass.
"""

import math

import tensorflow as tf

from tfstylegan.ops import library
from tfstylegan.ops.fused_bias_act import checked_options, fused_bias_act

_ACTS = ("linear", "relu", "lrelu")
_FLOATS = (tf.float32, tf.float64, tf.bfloat16, tf.float16)


def styled_epilogue(
    x,
    scale=None,
    noise=None,
    strength=None,
    bias=None,
    *,
    act="lrelu",
    alpha=None,
    gain=None,
    clamp=None,
    impl="auto",
):
    """clamp(gain * act(x * scale + strength * noise + bias)), to any derivative.

    The compiled op computes in float32 (float64 for a float64 x) and rounds once; the
    twin rounds to the type of x after each step.

    Args:
      x: [N, H, W, C]; float32, float64, bfloat16 or float16.
      scale: [N, C], or None for 1. The compiled op has its gradient from y, with an
        error of the order of |strength * noise + bias| / |scale| roundings, and 0 where
        scale is 0; a demodulation factor is above 0.
      noise: [N or 1, H, W, 1], with strength, a scalar; or None.
      bias: [C] or None.
      act: "linear", "relu" or "lrelu".
      alpha, gain, clamp: as of `fused_bias_act`.
      impl: "auto", "compiled" (an error where there is none) or "reference".

    Returns:
      Tensor of the shape and type of x.

    Raises:
      ValueError: for an argument out of its range or of another shape.
      RuntimeError: for impl="compiled" where the compiled op is not available.
    """
    x = tf.convert_to_tensor(x)
    if x.dtype not in _FLOATS:
        raise ValueError(f"x must be a floating-point tensor, got {x.dtype.name}")
    if x.shape.rank != 4:
        raise ValueError(f"x must be [N, H, W, C], got shape {x.shape}")
    if act not in _ACTS:
        raise ValueError(f"act must be one of {_ACTS}, got {act!r}")
    if (noise is None) != (strength is None):
        missing = "noise" if noise is None else "strength"
        raise ValueError(f"noise and strength go together, got {missing}=None")
    options = checked_options(act, alpha, gain, clamp)
    batch, height, width, channels = x.shape
    wide = _wide(x.dtype)
    if scale is not None:
        scale = _checked("scale", scale, [batch, channels], wide, x)
    if bias is not None:
        bias = _checked("bias", bias, [channels], wide, x)
    if noise is not None:
        noise = tf.cast(noise, wide)
        maps = 1 if noise.shape.rank and noise.shape[0] == 1 else batch
        noise = _checked("noise", noise, [maps, height, width, 1], wide, x)
        strength = _checked("strength", strength, [], wide, x)
    if not library.use_compiled(impl):
        return _composed(x, scale, noise, strength, bias, **options)
    if scale is None:
        scale = tf.ones([tf.shape(x)[0], tf.shape(x)[3]], wide)
    if noise is None:
        noise = tf.zeros([1, tf.shape(x)[1], tf.shape(x)[2], 1], wide)
        strength = tf.zeros([], wide)
    if bias is None:
        bias = tf.zeros([tf.shape(x)[3]], wide)
    scalars = [options["alpha"], options["gain"], options["clamp"]]
    return library.library().tfstylegan_styled_epilogue(
        x=x,
        scale=scale,
        noise=noise,
        strength=strength,
        bias=bias,
        scalars=tf.constant(scalars, tf.float64),
        act=act,
    )


def _composed(x, scale, noise, strength, bias, clamp, **options):
    """The op from its definition, in the type of x, as layers without it would."""
    if scale is not None:
        x *= tf.cast(scale, x.dtype)[:, tf.newaxis, tf.newaxis, :]
    if noise is not None:
        x += tf.cast(noise * strength, x.dtype)
    clamp = clamp if clamp < math.inf else None
    return fused_bias_act(x, bias, clamp=clamp, **options, impl="reference")


def _wide(dtype):
    return tf.float64 if dtype == tf.float64 else tf.float32


def _checked(name, value, shape, dtype, x):
    value = tf.cast(value, dtype)
    if not value.shape.is_compatible_with(shape):
        raise ValueError(
            f"{name} must be {shape} for x {x.shape}, got shape {value.shape}"
        )
    return value


@tf.RegisterGradient("TfstyleganStyledEpilogue")
def _gradient(op, dy):
    _, scale, noise, strength, bias, scalars = op.inputs
    dx, d_scale, d_plane, d_bias = library.library().tfstylegan_styled_epilogue_grad(
        dy=dy,
        y=op.outputs[0],
        scale=scale,
        plane=noise * strength,
        bias=bias,
        scalars=scalars,
        act=op.get_attr("act"),
    )
    d_strength = tf.reduce_sum(d_plane * noise)
    return dx, d_scale, d_plane * strength, d_strength, d_bias, None


@tf.RegisterGradient("TfstyleganStyledEpilogueGrad")
def _second_gradient(op, v_x, v_scale, v_plane, v_bias):
    """Gradient of (dx, d_scale, d_plane, d_bias) in dy, y, scale, plane and bias.

    x is a function of the others there, so that its share comes by way of y.
    """
    dy, y, scale, plane, bias, scalars = op.inputs
    d_dy, d_y, d_scale, d_plane, d_bias = (
        library.library().tfstylegan_styled_epilogue_grad_grad(
            v_x=v_x,
            v_scale=v_scale,
            v_plane=v_plane,
            v_bias=v_bias,
            dy=dy,
            y=y,
            scale=scale,
            plane=plane,
            bias=bias,
            scalars=scalars,
            act=op.get_attr("act"),
        )
    )
    d_scale -= tf.math.divide_no_nan(v_scale, scale) * op.outputs[1]
    return d_dy, d_y, d_scale, d_plane, d_bias, None


@tf.RegisterGradient("TfstyleganStyledEpilogueGradGrad")
def _third_gradient(op, *cotangents):
    """Rare, hence from the definition; TensorFlow differentiates it without end."""
    inputs = [tf.identity(t) for t in op.inputs[:-1]]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = _second_reference(*inputs, op.inputs[-1], op.get_attr("act"))
    return *tape.gradient(outputs, inputs, cotangents), None


def _second_reference(
    v_x, v_scale, v_plane, v_bias, dy, y, scale, plane, bias, scalars, act
):
    """TfstyleganStyledEpilogueGradGrad in TensorFlow."""
    dtype, wide = y.dtype, scale.dtype
    v_x, dy, y = (tf.cast(t, wide) for t in (v_x, dy, y))  # [N, H, W, C]
    alpha, gain, clamp = tf.unstack(tf.cast(scalars, wide))
    clamp = tf.cast(tf.cast(clamp, dtype), wide)  # as y was rounded
    alpha = {b"linear": tf.ones_like(alpha), b"relu": tf.zeros_like(alpha)}.get(
        act, alpha
    )
    slope = gain * tf.where(y * gain > 0, tf.ones_like(y), alpha)
    passes = tf.cast(tf.abs(y) < clamp, wide)
    ratio = tf.math.divide_no_nan(v_scale, scale)[:, tf.newaxis, tf.newaxis, :]
    scale = scale[:, tf.newaxis, tf.newaxis, :]
    da = passes * slope * dy
    tangent = v_x * scale + v_plane + v_bias - ratio * (plane + bias)
    d_plane = -tf.reduce_sum(ratio * da, -1, keepdims=True)  # [N, H, W, 1]
    return (
        tf.cast(passes * (slope * tangent + ratio * y), dtype),
        tf.cast(passes * ratio * dy, dtype),
        tf.reduce_sum(v_x * da, [1, 2]),
        _sum_to(d_plane, plane),
        -tf.reduce_sum(ratio * da, [0, 1, 2]),
    )


def _sum_to(t, plane):
    """t [N, H, W, 1], summed over N if plane has one map for all."""
    if plane.shape[0] is None:  # [1, H, W, 1] or like t
        return tf.cond(
            tf.shape(plane)[0] == tf.shape(t)[0],
            lambda: t,
            lambda: tf.reduce_sum(t, 0, keepdims=True),
        )
    return t if plane.shape[0] == t.shape[0] else tf.reduce_sum(t, 0, keepdims=True)
