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


def repeat(x, factor):
    """Every pixel of x [N, H, W, C] factor times in both directions."""
    return np.repeat(np.repeat(x, factor, axis=1), factor, axis=2)


def box(x, factor):
    """Mean of each square of x [N, H, W, C]."""
    n, h, w, c = x.shape
    y = np.zeros([n, h // factor, w // factor, c])
    for i in range(y.shape[1]):
        for j in range(y.shape[2]):
            rows, columns = slice(i * factor, None), slice(j * factor, None)
            y[:, i, j] = x[:, rows, columns][:, :factor, :factor].mean((1, 2))
    return y


def blur(x, taps):
    """x [N, H, W, C] with an odd number of symmetric taps, zeros around it."""
    taps = np.outer(taps, taps) / np.sum(taps) ** 2
    edge = len(taps) // 2
    return correlate(np.pad(x, [[0, 0], [edge] * 2, [edge] * 2, [0, 0]]), taps)


def lrelu(x):
    return np.where(x < 0, 0.2 * x, x)


def instance_norm(x):
    """Every map of x [N, H, W, C] to mean 0 and deviation 1."""
    x = x - x.mean((1, 2), keepdims=True)
    return x / np.sqrt((x**2).mean((1, 2), keepdims=True) + 1e-8)


def minibatch_stddev(x, group):
    """x [N, H, W, C] with its deviation in groups of samples as one more map."""
    n = len(x)
    stride = n // min(group, n)
    maps = np.zeros([*x.shape[:3], 1])
    for i in range(n):
        deviation = np.sqrt(np.var(x[i % stride :: stride], axis=0) + 1e-8)
        maps[i] = deviation.mean()
    return np.concatenate([x, maps], axis=3)


class StyleGAN:
    """StyleGAN's growing networks as the paper writes them: every level is computed.

    weights(name) is an array of float64; names are those of our variables without the
    network's own name. sides are the image sizes of the levels, from 4.
    """

    def __init__(self, weights, sides, lod):
        self.weights, self.sides, self.lod = weights, sides, lod

    def conv(self, x, name, gain):
        kernel = self.weights(f"{name}/kernel")
        scale = gain / np.sqrt(np.prod(kernel.shape[:3]))
        return conv2d(x, kernel * scale, kernel.shape[0] // 2)

    def dense(self, x, name, gain=1):
        kernel = self.weights(f"{name}/kernel")
        return x @ kernel * gain / np.sqrt(len(kernel)) + self.weights(f"{name}/bias")

    def lerp(self, level, new, old):
        """What level and the level below it give at the lod."""
        t = np.clip(self.lod - (len(self.sides) - 1 - level), 0, 1)
        return new + (old - new) * t

    def epilogue(self, x, name, w, noise):
        x = x + noise * self.weights(f"{name}/noise/strength")
        x = instance_norm(lrelu(x + self.weights(f"{name}/bias")))
        style = self.dense(w, f"{name}/adain/affine")[:, np.newaxis, np.newaxis]
        channels = x.shape[3]
        return x * (1 + style[..., :channels]) + style[..., channels:]

    def generator(self, ws, noise):
        """ws [N, L, D], noise L maps -> images of the size of the last level."""
        x = np.repeat(self.weights("4x4_start/const"), len(ws), axis=0)
        x = self.epilogue(x, "4x4_start", ws[:, 0], noise[0])
        image = None
        for level, side in enumerate(self.sides):
            if level:
                name, i = f"{side}x{side}_conv_up", 2 * level
                x = self.conv(repeat(x, 2), f"{name}/conv", np.sqrt(2))
                x = self.epilogue(blur(x, [1, 2, 1]), name, ws[:, i], noise[i])
            name, i = f"{side}x{side}_conv", 2 * level + 1
            x = self.conv(x, f"{name}/conv", np.sqrt(2))
            x = self.epilogue(x, name, ws[:, i], noise[i])
            name = f"{side}x{side}_to_rgb"
            new = self.conv(x, name, 1) + self.weights(f"{name}/bias")
            image = new if image is None else self.lerp(level, new, repeat(image, 2))
        return image

    def activated(self, x, name):
        x = self.conv(x, name, np.sqrt(2))
        return lrelu(x + self.weights(f"{name}/bias"))

    def discriminator(self, images):
        """images [N, H, W, C] -> logits [N, 1]; minibatch-stddev groups of 4."""
        name = "{0}x{0}_from_rgb".format
        x = self.activated(images, name(self.sides[-1]))
        for level in range(len(self.sides) - 1, 0, -1):
            side = self.sides[level]
            x = self.activated(x, f"{side}x{side}_conv")
            down = f"{side}x{side}_conv_down"
            x = box(self.conv(blur(x, [1, 2, 1]), down, np.sqrt(2)), 2)
            x = lrelu(x + self.weights(f"{down}/bias"))
            images = box(images, 2)
            old = self.activated(images, name(self.sides[level - 1]))
            x = self.lerp(level, x, old)
        x = self.activated(minibatch_stddev(x, 4), "4x4_conv")
        x = x.transpose(0, 3, 1, 2).reshape(len(x), -1)
        return self.dense(lrelu(self.dense(x, "dense", np.sqrt(2))), "output")
