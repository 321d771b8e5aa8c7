"""Slow NumPy truth: definitions written as loops over samples, in float64."""

import numpy as np


def upfirdn2d(x, kernel, up, down, padding, flip_kernel=False, gain=1.0):
    """x [N, H, W, C], kernel [Kh, Kw], up, down (y, x), padding (y0, y1, x0, x1)."""
    x, kernel = np.asarray(x, np.float64), np.asarray(kernel, np.float64)
    n, h, w, c = x.shape
    zeros = np.zeros([n, h * up[0], w * up[1], c])
    zeros[:, :: up[0], :: up[1]] = x
    y0, y1, x0, x1 = padding
    grow = np.maximum([y0, y1, x0, x1], 0)
    padded = np.pad(zeros, [[0, 0], grow[:2], grow[2:], [0, 0]])
    y_end, x_end = padded.shape[1] + min(y1, 0), padded.shape[2] + min(x1, 0)
    padded = padded[:, max(-y0, 0) : y_end, max(-x0, 0) : x_end]
    if not flip_kernel:
        kernel = kernel[::-1, ::-1]
    return gain * correlate(padded, kernel)[:, :: down[0], :: down[1]]


def correlate(x, kernel):
    """Every channel of x [N, H, W, C] with kernel [Kh, Kw], full overlaps only."""
    kh, kw = kernel.shape
    n, h, w, c = x.shape
    y = np.zeros([n, h - kh + 1, w - kw + 1, c])
    for i in range(y.shape[1]):
        for j in range(y.shape[2]):
            window = x[:, i : i + kh, j : j + kw]
            y[:, i, j] = (window * kernel[np.newaxis, :, :, np.newaxis]).sum((1, 2))
    return y


def conv2d(x, w, padding=0):
    """Correlation of x [N, H, W, C] with w [Kh, Kw, C, F], zeros around x."""
    x = np.pad(x, [[0, 0], [padding, padding], [padding, padding], [0, 0]])
    kh, kw = w.shape[:2]
    n, height, width, _ = x.shape
    y = np.zeros([n, height - kh + 1, width - kw + 1, w.shape[3]])
    for i in range(y.shape[1]):
        for j in range(y.shape[2]):
            window = x[:, i : i + kh, j : j + kw]
            y[:, i, j] = np.tensordot(window, w, 3)
    return y


def zero_insert(x, factor):
    """factor - 1 zeros after every sample of x [N, H, W, C], in both directions."""
    n, h, w, c = x.shape
    y = np.zeros([n, h * factor, w * factor, c])
    y[:, ::factor, ::factor] = x
    return y


def activation(a, act, alpha):
    """Value of an activation at a, from its textbook definition."""
    if act == "linear":
        return a
    if act == "relu":
        return np.where(a > 0, a, 0)
    if act == "lrelu":
        return np.where(a > 0, a, alpha * a)
    if act == "tanh":
        return (np.exp(a) - np.exp(-a)) / (np.exp(a) + np.exp(-a))
    if act == "sigmoid":
        return 1 / (1 + np.exp(-a))
    if act == "elu":
        return np.where(a > 0, a, np.exp(a) - 1)
    if act == "selu":
        scale, alpha = 1.0507009873554805, 1.6732632423543772
        return scale * np.where(a > 0, a, alpha * (np.exp(a) - 1))
    if act == "softplus":
        return np.log(1 + np.exp(a))
    if act == "swish":
        return a / (1 + np.exp(-a))
    raise KeyError(act)


def bias_act(x, bias, axis, act, alpha, gain, clamp):
    """clamp(gain * act(x + bias)) with every option given; clamp None is none."""
    shape = [1] * x.ndim
    shape[axis] = -1
    y = gain * activation(x + np.reshape(bias, shape), act, alpha)
    return y if clamp is None else np.clip(y, -clamp, clamp)


def styled_epilogue(x, scale, noise, strength, bias, act, alpha, gain, clamp):
    """x [N, H, W, C], scale [N, C], noise [N or 1, H, W, 1]; as bias_act else."""
    x, scale, noise = (np.asarray(v, np.float64) for v in (x, scale, noise))
    a = np.zeros(x.shape)
    for n in range(len(x)):
        a[n] = x[n] * scale[n] + float(strength) * noise[n % len(noise)]
    return bias_act(a, bias, 3, act, alpha, gain, clamp)
