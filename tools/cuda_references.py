"""The ops in float64, as custom_ops/README.md defines them, for comparison.

Arrays are PyTorch's or NumPy's: functions are looked up where the array comes from. All
of an argument list are float64, but for taps, which are NumPy's. clamp is infinity for
none.
"""

import sys


def library_of(array):
    """torch or numpy, which name the same functions here."""
    return sys.modules[type(array).__module__.partition(".")[0]]


def upfirdn2d(x, taps, up, down, pad0, size):
    """x [N, H, W, C] -> y [N, *size, C]."""
    xp = library_of(x)
    n, h, w, c = x.shape

    def zeros(*shape):
        return xp.zeros(shape, dtype=xp.float64, device=x.device)

    dense = zeros(n, h * up[0], w * up[1], c)
    dense[:, :: up[0], :: up[1]] = x
    spans = [(s - 1) * d + k for s, d, k in zip(size, down, taps.shape)]
    canvas = zeros(n, *spans, c)
    to, of = [], []
    for pad, span, length in zip(pad0, spans, dense.shape[1:3]):
        begin, end = max(pad, 0), max(min(pad + length, span), max(pad, 0))
        to.append(slice(begin, end))
        of.append(slice(begin - pad, end - pad))
    canvas[:, to[0], to[1]] = dense[:, of[0], of[1]]
    y = zeros(n, *size, c)
    for i in range(taps.shape[0]):
        for j in range(taps.shape[1]):
            rows = slice(i, i + (size[0] - 1) * down[0] + 1, down[0])
            columns = slice(j, j + (size[1] - 1) * down[1] + 1, down[1])
            y += float(taps[i, j]) * canvas[:, rows, columns]
    return y


def activation(a, act, alpha):
    xp = library_of(a)
    return {
        "linear": lambda: a,
        "relu": lambda: xp.where(a > 0, a, 0 * a),
        "lrelu": lambda: xp.where(a > 0, a, alpha * a),
        "tanh": lambda: xp.tanh(a),
        "sigmoid": lambda: sigmoid(a),
        "elu": lambda: xp.where(a > 0, a, xp.expm1(a)),
        "selu": lambda: SELU_SCALE * xp.where(a > 0, a, SELU_ALPHA * xp.expm1(a)),
        "softplus": lambda: xp.logaddexp(a, 0 * a),
        "swish": lambda: a * sigmoid(a),
    }[act]()


SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772


def sigmoid(a):
    return 1 / (1 + library_of(a).exp(-a))


def along(vector, x, axis):
    """A vector [C] that broadcasts along an axis of x; 0 for None."""
    if vector is None:
        return 0.0
    shape = [1] * len(x.shape)
    shape[axis] = -1
    return vector.reshape(shape)


def fused_bias_act(x, bias, axis, act, alpha, gain, clamp):
    y = gain * activation(x + along(bias, x, axis), act, alpha)
    return library_of(x).clip(y, -clamp, clamp)


def slope(ref, act, alpha, gain, clamp):
    """d y / d a from what the kernel sees: y, or a for swish; 0 at the clamp."""
    xp = library_of(ref)
    u, y = ref / gain, ref
    one = xp.ones_like(u)
    if act == "swish":
        s = sigmoid(ref)
        result, y = s * (1 + ref * (1 - s)), gain * ref * s
    elif act in ("linear", "relu", "lrelu"):
        below = {"linear": 1.0, "relu": 0.0, "lrelu": alpha}[act]
        result = xp.where(u > 0, one, below * one)
    elif act == "tanh":
        result = 1 - u**2
    elif act == "sigmoid":
        result = u * (1 - u)
    elif act == "elu":
        result = xp.where(u >= 0, one, u + 1)
    elif act == "selu":
        result = xp.where(u >= 0, SELU_SCALE * one, u + SELU_SCALE * SELU_ALPHA)
    else:  # softplus
        result = -xp.expm1(-u)
    return xp.where(abs(y) >= clamp, 0 * result, gain * result)


def styled_epilogue(x, scale, plane, bias, act, alpha, gain, clamp):
    """plane: strength * noise."""
    a = x * scale[:, None, None, :] + plane
    return fused_bias_act(a, bias, 3, act, alpha, gain, clamp)


def styled_epilogue_grad(dy, y, scale, plane, bias, act, alpha, gain, clamp):
    """dx, d_scale, d_plane, d_bias."""
    xp = library_of(y)
    s = scale[:, None, None, :]
    da = dy * slope(y, act, alpha, gain, clamp)
    passes = xp.where(abs(y) >= clamp, 0 * y, xp.ones_like(y))
    product = (passes * dy * y - da * (plane + along(bias, y, 3))).sum((1, 2))
    d_scale = xp.where(scale == 0, 0 * scale, product / xp.where(scale == 0, 1, scale))
    return da * s, d_scale, over_maps(da.sum(3)[..., None], plane), da.sum((0, 1, 2))


def styled_epilogue_grad_grad(
    v_x, v_scale, v_plane, v_bias, dy, y, scale, plane, bias, act, alpha, gain, clamp
):
    """d_dy, d_y, d_scale, d_plane, d_bias."""
    xp = library_of(y)
    k = slope(y, act, alpha, gain, clamp)
    passes = xp.where(abs(y) >= clamp, 0 * y, xp.ones_like(y))
    ratio = xp.where(scale == 0, 0 * scale, v_scale / xp.where(scale == 0, 1, scale))
    ratio, s = ratio[:, None, None, :], scale[:, None, None, :]
    shift = v_plane + along(v_bias, y, 3) - ratio * (plane + along(bias, y, 3))
    da = k * dy
    return (
        k * (v_x * s + shift) + passes * ratio * y,
        passes * ratio * dy,
        (v_x * da).sum((1, 2)),
        over_maps(-(ratio * da).sum(3)[..., None], plane),
        -(ratio * da).sum((0, 1, 2)),
    )


def over_maps(t, plane):
    """t [N, H, W, 1], summed over N if plane has one map for all."""
    return t if len(plane) == len(t) else t.sum(0)[None]
