"""Bias, activation, gain and clamp in one pass (StyleGAN2, appendix B).

    y = clamp(gain * act(x + b), -clamp, clamp)

The slope of every activation but swish can be computed from its value, so that the
backward pass keeps y, which the next layer keeps anyway, and not x.
"""

import math

import tensorflow as tf

from tfstylegan.ops import library

# Default gains keep the variance of a unit normal input for the rectifiers.
_DEFAULT_GAIN = {
    "linear": 1.0,
    "relu": math.sqrt(2),
    "lrelu": math.sqrt(2),
    "tanh": 1.0,
    "sigmoid": 1.0,
    "elu": 1.0,
    "selu": 1.0,
    "softplus": 1.0,
    "swish": math.sqrt(2),
}
_PIECEWISE_LINEAR = ("linear", "relu", "lrelu")
_FLOATS = (tf.float32, tf.float64, tf.bfloat16, tf.float16)


def fused_bias_act(
    x,
    bias=None,
    *,
    axis=-1,
    act="linear",
    alpha=None,
    gain=None,
    clamp=None,
    impl="auto",
):
    """clamp(gain * act(x + bias)), differentiable to any order.

    Args:
      x: Tensor of any rank of at least 1; float32, float64, bfloat16 or float16.
      bias: [C] with C the length of x along axis (cast to the type of x), or None.
      axis: The channel axis of x.
      act: "linear", "relu", "lrelu", "tanh", "sigmoid", "elu", "selu", "softplus" or
        "swish".
      alpha: Slope of lrelu below zero, at least 0; default 0.2. Others ignore it.
      gain: Finite and not 0; default sqrt(2) for relu, lrelu and swish, otherwise 1.
      clamp: Limit of |y|, above 0, or None. The gradient is zero where |y| reaches it.
      impl: "auto", "compiled" (an error where there is none) or "reference". "auto"
        runs linear, relu and lrelu compiled; for the others TensorFlow's own vectorised
        functions are faster than the compiled op, up to 20 times for tanh.

    Returns:
      Tensor of the shape and type of x.

    Raises:
      ValueError: for an argument out of its range or of another shape.
      RuntimeError: for impl="compiled" where the compiled op is not available.
    """
    x = tf.convert_to_tensor(x)
    if x.dtype not in _FLOATS:
        raise ValueError(f"x must be a floating-point tensor, got {x.dtype.name}")
    rank = x.shape.rank
    if not rank:
        raise ValueError(f"x must have a known rank of at least 1, got shape {x.shape}")
    if not -rank <= axis < rank:
        raise ValueError(f"axis must be in [{-rank}, {rank}), got {axis}")
    axis %= rank
    if bias is not None:
        bias = tf.cast(bias, x.dtype)
        if bias.shape.rank != 1 or not bias.shape.is_compatible_with([x.shape[axis]]):
            raise ValueError(
                f"bias must be [C] with C = {x.shape[axis]}, the length of x {x.shape} "
                f"along axis {axis}, got shape {bias.shape}"
            )
    options = checked_options(act, alpha, gain, clamp)
    if impl == "auto" and act not in _PIECEWISE_LINEAR:
        impl = "reference"
    if library.use_compiled(impl):
        if bias is None:
            bias = tf.zeros([0], x.dtype)
        scalars = [options["alpha"], options["gain"], options["clamp"]]
        return library.library().tfstylegan_fused_bias_act(
            x=x,
            bias=bias,
            scalars=tf.constant(scalars, tf.float64),
            axis=axis,
            act=act,
        )
    return _reference(x, bias, axis, **options)


def _reference(x, bias, axis, act, alpha, gain, clamp):
    """The op in TensorFlow, from the definition; TensorFlow differentiates it."""
    dtype = x.dtype
    if dtype in (tf.bfloat16, tf.float16):
        x = tf.cast(x, tf.float32)  # one rounding at the end, as the kernels do
    if bias is not None:
        if None in (x.shape[axis], bias.shape[0]):  # otherwise checked already
            channels, length = tf.shape(x)[axis], tf.size(bias)
            what = f"bias must be [C] with C the length of x along axis {axis}"
            check = tf.debugging.assert_equal(channels, length, what)
            with tf.control_dependencies([check] if check is not None else []):
                bias = tf.identity(bias)  # one of another length could be broadcast
        shape = [1] * x.shape.rank
        shape[axis] = -1
        x += tf.reshape(tf.cast(bias, x.dtype), shape)
    if act == "relu":
        x = tf.nn.relu(x)
    elif act == "lrelu":
        if dtype == tf.float64:  # LeakyRelu has its alpha in float32
            x = tf.where(x > 0, x, alpha * x)
        else:
            x = tf.nn.leaky_relu(x, alpha)
    elif act == "swish":
        x *= tf.sigmoid(x)
    elif act != "linear":
        x = getattr(tf.nn, act)(x)
    if gain != 1:
        x *= gain
    if clamp < math.inf:
        limit = tf.stop_gradient(tf.clip_by_value(x, -clamp, clamp))
        x = tf.where(tf.abs(x) < clamp, x, limit)
    return tf.cast(x, dtype)


@tf.RegisterGradient("TfstyleganFusedBiasAct")
def _forward_gradient(op, dy):
    x, bias, scalars = op.inputs
    act = op.get_attr("act")
    if act == b"swish":
        ref = x
    elif act == b"linear" and _unclamped(scalars):
        ref = dy  # not read; y need not be kept
    else:
        ref = op.outputs[0]
    dx, d_bias = _grad_op(op, dy, tf.zeros([0], dy.dtype), ref, bias, scalars)
    return dx, d_bias, None


@tf.RegisterGradient("TfstyleganFusedBiasActGrad")
def _backward_gradient(op, v, v_bias):
    """Gradient of dx = (dy + dy_bias) * slope(ref), d_bias = sum of dx.

    In (dy, dy_bias) the op is linear and its own transpose. In ref it is a product
    with the slope, whose derivative is zero for the piecewise linear activations; for
    the others it is written in TensorFlow, hence differentiable without end.
    """
    dy, dy_bias, ref, bias, scalars = op.inputs
    d_dy, d_dy_bias = _grad_op(op, v, v_bias, ref, bias, scalars)
    if dy_bias.shape[0] == 0:
        d_dy_bias = None
    act, axis = op.get_attr("act").decode(), op.get_attr("axis")
    if act in _PIECEWISE_LINEAR:
        return d_dy, d_dy_bias, None, None, None

    def wide(t):
        return tf.cast(t, tf.float64 if ref.dtype == tf.float64 else tf.float32)

    def plus(t, vector):  # t + vector along the channel axis; nothing if it is empty
        if vector.shape[0] == 0:
            return wide(t)
        shape = [1] * ref.shape.rank
        shape[axis] = -1
        return wide(t) + tf.reshape(wide(vector), shape)

    d_ref = plus(v, v_bias) * plus(dy, dy_bias)
    _, gain, clamp = tf.unstack(wide(scalars))
    if act == "swish":
        d_ref *= _slope_derivative(plus(ref, bias), act, gain, clamp)
    else:
        d_ref *= _slope_derivative(wide(ref), act, gain, clamp)
    d_bias = None
    if act == "swish" and bias.shape[0] != 0:
        others = [i for i in range(ref.shape.rank) if i != axis]
        d_bias = tf.cast(tf.reduce_sum(d_ref, others), ref.dtype)
    return d_dy, d_dy_bias, tf.cast(d_ref, ref.dtype), d_bias, None


def _grad_op(op, dy, dy_bias, ref, bias, scalars):
    return library.library().tfstylegan_fused_bias_act_grad(
        dy=dy,
        dy_bias=dy_bias,
        ref=ref,
        bias=bias,
        scalars=scalars,
        axis=op.get_attr("axis"),
        act=op.get_attr("act"),
    )


def _unclamped(scalars):
    scalars = tf.get_static_value(scalars)
    return scalars is not None and scalars[2] == math.inf


def _slope_derivative(ref, act, gain, clamp):
    """Derivative of slope(ref) in ref: x + b for swish, otherwise y."""
    u = ref / gain
    y = ref
    if act == "swish":
        s = tf.sigmoid(ref)
        y = gain * ref * s
        result = gain * s * (1 - s) * (2 + ref * (1 - 2 * s))
    elif act == "tanh":
        result = -2 * u
    elif act == "sigmoid":
        result = 1 - 2 * u
    elif act == "softplus":
        result = tf.exp(-u)
    else:  # elu, selu
        result = tf.where(u < 0, tf.ones_like(u), tf.zeros_like(u))
    return tf.where(tf.abs(y) >= clamp, tf.zeros_like(result), result)


def checked_options(act, alpha, gain, clamp):
    """The checked options as numbers; clamp infinity is none."""
    if act not in _DEFAULT_GAIN:
        raise ValueError(f"act must be one of {sorted(_DEFAULT_GAIN)}, got {act!r}")
    alpha = 0.2 if alpha is None else float(alpha)
    if not 0 <= alpha < math.inf:
        raise ValueError(f"alpha must be finite and at least 0, got {alpha}")
    gain = _DEFAULT_GAIN[act] if gain is None else float(gain)
    if gain == 0 or not math.isfinite(gain):
        raise ValueError(f"gain must be finite and not 0, got {gain}")
    if clamp is not None and not clamp > 0:
        raise ValueError(f"clamp must be above 0 or None, got {clamp}")
    clamp = math.inf if clamp is None else float(clamp)
    return {"act": act, "alpha": alpha, "gain": gain, "clamp": clamp}
