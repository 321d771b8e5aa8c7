"""Slow NumPy truth: definitions written as loops over samples, in float64."""

import itertools

import numpy as np

# The relative_error that compiled ops stay below, in their outputs and in first and
# second derivatives.
PRECISION = {"float32": 1e-5, "bfloat16": 1e-2, "float16": 1e-2}

# [N, H, W, C] of empty batches, of one pixel, of channels for all kinds of loops.
EDGES = [[n, s, s, c] for n, s, c in itertools.product([0, 2], [1, 3], [1, 3, 5, 512])]


def relative_error(actual, expected, sizes=None):
    """The largest |actual - expected| over the largest |expected|.

    Where expected is what remains of numbers that cancel, `sizes`, of its shape, has
    the sums of their absolute values, and takes its place below the line.
    """
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    sizes = expected if sizes is None else sizes
    assert actual.shape == expected.shape == np.shape(sizes)
    error = np.max(np.abs(actual - expected), initial=0)
    return error / (np.max(np.abs(sizes), initial=0) + 1e-30)


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


def upfirdn2d_matrix(height, width, kernel, **options):
    """[H, W, H', W']: what every sample of an image adds to the output of upfirdn2d."""
    samples = np.eye(height * width).reshape(-1, height, width, 1)
    y = upfirdn2d(samples, kernel, **options)
    return y.reshape(height, width, *y.shape[1:3])


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


def activation_derivatives(a, act, alpha):
    """First and second derivative of an activation at a, which is not 0."""
    below = {"linear": 1, "relu": 0, "lrelu": alpha}
    if act in below:
        return np.where(a > 0, 1, below[act]), np.zeros_like(a)
    if act == "tanh":
        t = np.tanh(a)
        return 1 - t**2, -2 * t * (1 - t**2)
    if act in ("elu", "selu"):
        scale, alpha = 1, 1
        if act == "selu":
            scale, alpha = 1.0507009873554805, 1.6732632423543772
        curved = scale * alpha * np.exp(a)
        return np.where(a > 0, scale, curved), np.where(a > 0, 0, curved)
    s = 1 / (1 + np.exp(-a))
    if act == "sigmoid":
        return s * (1 - s), s * (1 - s) * (1 - 2 * s)
    if act == "softplus":
        return s, s * (1 - s)
    if act == "swish":
        return s + a * s * (1 - s), s * (1 - s) * (2 + a * (1 - 2 * s))
    raise KeyError(act)


def bias_act(x, bias, axis, act, alpha, gain, clamp):
    """clamp(gain * act(x + bias)) with every option given; clamp None is none."""
    shape = [1] * x.ndim
    shape[axis] = -1
    y = gain * activation(x + np.reshape(bias, shape), act, alpha)
    return y if clamp is None else np.clip(y, -clamp, clamp)


def bias_act_derivatives(x, bias, ct, vx, vb, axis, act, alpha, gain, clamp):
    """y; dx, db for the cotangent ct; gg_*, the gradients of <dx, vx> + <db, vb>.

    Each with the sizes of what it is the difference of: the slope, at most about 1, is
    found from y, for tanh as 1 - y^2.
    """
    shape = [1] * x.ndim
    shape[axis] = -1
    others = tuple(i for i in range(x.ndim) if i != axis % x.ndim)
    y = bias_act(x, bias, axis, act, alpha, gain, clamp)
    a = x + np.reshape(bias, shape)
    slope, bend = (gain * d for d in activation_derivatives(a, act, alpha))
    if clamp is not None:
        slope, bend = (np.where(np.abs(y) < clamp, d, 0) for d in (slope, bend))
    v = vx + np.reshape(vb, shape)  # of a
    terms = {
        "y": (y, y, ()),
        "dx": (ct * slope, gain * ct, ()),
        "db": (ct * slope, gain * ct, others),
        "gg_ct": (v * slope, gain * v, ()),
        "gg_x": (ct * bend * v, gain * ct * v, ()),
        "gg_b": (ct * bend * v, gain * ct * v, others),
    }
    return {
        name: tuple(t.sum(axes) for t in (value, np.abs(sizes)))
        for name, (value, sizes, axes) in terms.items()
    }


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


def styled_epilogue_derivatives(arguments, ct, vs, act, alpha, gain, clamp):
    """y; its gradients in the arguments; those of sum <gradient, v> in ct and them.

    Each with the sizes of what it sums: the gradients are given y and not x, which is
    a difference for them.
    """
    arguments, vs, (ct,) = (
        [np.asarray(t, np.float64) for t in ts] for ts in (arguments, vs, [ct])
    )
    x, scale, noise, strength, bias = arguments
    v_x, v_scale, v_noise, v_strength, v_bias = vs
    y = styled_epilogue(*arguments, act, alpha, gain, clamp)
    scale, v_scale = (t[:, np.newaxis, np.newaxis] for t in (scale, v_scale))
    a = x * scale + strength * noise + bias
    slope = gain * activation_derivatives(a, act, alpha)[0]
    if clamp is not None:
        slope = np.where(np.abs(y) < clamp, slope, 0)
    da = ct * slope
    v_plane = v_strength * noise + strength * v_noise
    tangent = v_x * scale + v_scale * x + v_plane + v_bias  # of a

    size = np.abs(x * scale) + np.abs(strength * noise) + np.abs(bias)  # of a
    x_size, da_size = size / np.abs(scale), np.abs(da)
    ratio = np.abs(v_scale / scale)
    tangent_size = np.abs(v_x * scale) + np.abs(v_scale) * x_size
    tangent_size += np.abs(v_plane) + np.abs(v_bias)
    noise_size, strength_size = np.abs(noise), np.abs(strength)
    maps = (3,) if len(noise) == len(x) else (0, 3)
    terms = [
        (y, y, ()),
        (da * scale, da * scale, ()),
        (da * x, da * x_size, (1, 2)),
        (da * strength, da * strength, maps),
        (da * noise, da * noise, (0, 1, 2, 3)),
        (da, da, (0, 1, 2)),
        (slope * tangent, slope * tangent_size, ()),
        (da * v_scale, da * v_scale, ()),
        (da * v_x, da_size * (np.abs(v_x) + ratio * x_size), (1, 2)),
        (da * v_strength, da_size * (np.abs(v_strength) + ratio * strength_size), maps),
        (da * v_noise, da_size * (np.abs(v_noise) + ratio * noise_size), (0, 1, 2, 3)),
        (0 * da, da_size * ratio, (0, 1, 2)),
    ]
    return [
        tuple(t.sum(axes, keepdims=axes == maps) for t in (value, np.abs(sizes)))
        for value, sizes, axes in terms
    ]
