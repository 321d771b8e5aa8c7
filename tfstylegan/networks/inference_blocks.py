"""Layers of StyleGAN2's synthesis networks with everything computed that can be.

For networks that are only looked at: what depends on weights alone is computed once,
when a network is folded, and every map of features is read and written as seldom as
possible. What follows a convolution is one compiled op, where that is in use. Of
TensorFlow's own, with demodulation d and activation gain g > 0

    g lrelu(d y + s noise + b) = lrelu((g d) y + (g s noise + g b))

needs no pass for the gain, and one for noise and bias together.
"""

import math

import keras
import numpy as np
import tensorflow as tf

from tfstylegan import ops
from tfstylegan.layers import equalized, modulated_conv
from tfstylegan.layers import noise as noise_lib
from tfstylegan.networks import modulated_blocks
from tfstylegan.ops import convolution, resample

_SLOPE = 0.2  # of lrelu


def fold(network):
    """A synthesis network that gives what `network` gives, faster and not trainable.

    Those of `ModulatedBlocks` have one; any other is returned as it is.
    """
    if type(network.blocks) is not modulated_blocks.ModulatedBlocks:
        return network
    folded = type(network).from_config(
        {**network.get_config(), "blocks": InferenceBlocks()}
    )
    folded.build()
    kept = {_name(network, variable): variable for variable in network.variables}
    for variable in folded.variables:
        if _name(folded, variable) in kept:
            variable.assign(kept[_name(folded, variable)])
    for ours, theirs in zip(folded.styled_layers, network.styled_layers, strict=True):
        ours.fold(theirs.conv)
    for ours, theirs in zip(_to_rgb(folded), _to_rgb(network), strict=True):
        ours.fold(theirs.conv)
    return folded


class InferenceBlocks(modulated_blocks.ModulatedBlocks):
    """Makes the layers; see `modulated_blocks`."""

    def conv(self, filters, **options):
        return FoldedConv(filters, **options)

    def to_rgb(self, channels, **options):
        return FoldedToRGB(channels, **options)

    def upsample_2d(self, x, taps):
        """`resample.upsample_2d` of images, without zeros between their pixels.

        A convolution gives the pixels of all four phases: C times as many products as
        are needed, for C that are few.
        """
        channels = x.shape[-1]
        kernel = np.einsum("yxij,cd->yxcijd", _phases(taps), np.eye(channels))
        kernel = kernel.reshape(*kernel.shape[:2], channels, 4 * channels)
        x = convolution.conv2d(x, tf.constant(kernel, x.dtype), 1, "SAME")
        return tf.nn.depth_to_space(x, 2)


class _Folded(keras.layers.Layer):
    """The style, [N, C], of a modulated convolution, and the bias of what it gives."""

    def __init__(self, filters, *, clamp=None, seed=None, **kwargs):
        del seed  # nothing is drawn
        super().__init__(autocast=False, trainable=False, **kwargs)
        equalized.check_clamp(clamp)
        self.filters = filters
        self.clamp = clamp

    def build(self, x_shape, w_shape, noise_shape=None):
        channels = x_shape[-1]
        self.style_kernel = self._weight("style_kernel", (w_shape[-1], channels))
        self.style_bias = self._weight("style_bias", (channels,))
        self.bias = self._weight("bias", (self.filters,))

    def fold(self, conv):
        """Takes the weights of a `ModulatedConv2D`; gives its kernel [K, K, C, F]."""
        affine = conv.affine
        self.style_kernel.assign(affine.kernel * affine.scale)
        self.style_bias.assign(affine.bias * affine.lr_mul)
        return conv.kernel * conv.scale

    def style(self, w):
        return tf.matmul(w, self.style_kernel) + self.style_bias  # [N, C]

    def _weight(self, name, shape, dtype=None):
        return self.add_weight(
            name=name,
            shape=shape,
            dtype=dtype,
            initializer="zeros",
            trainable=False,
            autocast=False,
        )

    def _clamped(self, x):
        if self.clamp is None:
            return x
        return tf.clip_by_value(x, -self.clamp, self.clamp)


class FoldedConv(_Folded):
    """`modulated_blocks.StyledConv` of fixed weights; called in the same way."""

    def __init__(
        self, filters, *, up=False, resample_kernel=(1, 3, 3, 1), gain=None, **kwargs
    ):
        super().__init__(filters, **kwargs)
        self.up = up
        self.resample_kernel = tuple(resample_kernel)
        self.gain = math.sqrt(2) if gain is None else gain
        self.noise = noise_lib.NoiseInput(dtype=self.dtype_policy, name="noise")

    def build(self, x_shape, w_shape, noise_shape=None):
        super().build(x_shape, w_shape)
        batch, height, width, channels = x_shape
        factor = 2 if self.up else 1
        self.noise.build((batch, factor * height, factor * width, self.filters))
        ends = (self.filters, channels) if self.up else (channels, self.filters)
        # As convolutions take it (float16's are widened on CPUs): TensorFlow would
        # convert it in every call.
        self.folded_kernel = self._weight(
            "folded_kernel", (3, 3, *ends), self.compute_dtype
        )
        self.power = self._weight("power", (channels, self.filters))
        self.blur = _Blur(self.resample_kernel) if self.up else None

    def fold(self, conv):
        kernel = super().fold(conv)  # [K, K, C, F]
        if self.compute_dtype == "float16":  # the style's part is in `call`
            kernel, _ = modulated_conv.prenormalized(kernel, tf.ones([1, 1]))
        self.power.assign(tf.reduce_sum(tf.square(kernel), axis=(0, 1)))
        if self.up:
            # A transposed convolution is a true convolution: flip to correlate.
            kernel = tf.transpose(tf.reverse(kernel, [0, 1]), [0, 1, 3, 2])
        self.folded_kernel.assign(tf.cast(kernel, self.folded_kernel.dtype))

    def call(self, x, w, noise=None):
        style = self.style(w)  # [N, C]
        if self.compute_dtype == "float16":
            largest = tf.reduce_max(tf.abs(style), axis=1, keepdims=True)
            style /= tf.maximum(largest, modulated_conv.EPSILON)
        norm = tf.matmul(tf.square(style), self.power) + modulated_conv.EPSILON
        x = tf.cast(x, self.compute_dtype)
        if ops.library.use_compiled("auto"):
            return self._by_compiled_ops(x, style, tf.math.rsqrt(norm), noise)
        factor = self.gain * tf.math.rsqrt(norm)  # [N, F]
        if noise is not None:
            noise = self.gain * self.noise.strength * noise  # [N or 1, H', W', 1]
        if x.shape[0] == 1:
            return self._of_one(x, style[0], factor[0], noise)
        x = x * _maps(style, x.dtype)  # [N, H, W, C]
        x = self._convolved(x, self.folded_kernel)  # [N, H', W', F]
        x = x * _maps(factor, x.dtype)
        shift = tf.cast(self.gain * self.bias, x.dtype)  # [F]
        if noise is not None:
            shift += tf.cast(noise, x.dtype)  # [N or 1, H', W', F]
        x = tf.nn.leaky_relu(x + shift, _SLOPE)
        return self._clamped(x)

    def _by_compiled_ops(self, x, style, factor, noise):
        """`call`, with what follows the convolution as one op."""
        x = x * _maps(style, x.dtype)  # [N, H, W, C]
        x = self._convolved(x, self.folded_kernel)  # [N, H', W', F]
        return ops.styled_epilogue(
            x,
            factor,
            noise,
            None if noise is None else self.noise.strength,
            self.bias,
            gain=self.gain,
            clamp=self.clamp,
        )

    def _of_one(self, x, style, factor, noise):
        """`call` of one image, whose kernel holds style [C] and factor [F].

        Without `up`, TensorFlow computes bias, noise of the features' shape and
        activation, in this order, with the convolution. A bias alone after the filter
        of `up` would make TensorFlow (2.21), which joins these two, abort the process.
        """
        before, after = style[:, tf.newaxis], factor  # [C, 1], [F]
        if self.up:
            before, after = factor[:, tf.newaxis], style
        kernel = tf.cast(self.folded_kernel, style.dtype) * before * after
        # In loops TensorFlow does not know shapes of variables, and joins nothing.
        kernel = tf.ensure_shape(kernel, self.folded_kernel.shape)
        x = self._convolved(x, tf.cast(kernel, x.dtype))  # [1, H', W', F]
        bias = tf.cast(self.gain * self.bias, x.dtype)  # [F]
        noise = None if noise is None else tf.cast(noise, x.dtype)  # [1, H', W', 1]
        if self.up:
            alone = noise is None
            x += tf.broadcast_to(bias, tf.shape(x)) if alone else bias + noise
        else:
            x = tf.nn.bias_add(x, bias)
            if noise is not None:
                x += tf.broadcast_to(noise, tf.shape(x))
        return self._clamped(tf.nn.leaky_relu(x, _SLOPE))

    def _convolved(self, x, kernel):
        if not self.up:
            return convolution.conv2d(x, kernel, 1, "SAME")
        batch, (height, width) = tf.shape(x)[0], x.shape[1:3]
        shape = [batch, 2 * height + 1, 2 * width + 1, self.filters]
        return self.blur(convolution.conv2d_transpose(x, kernel, shape, 2, "VALID"))

    def compute_output_shape(self, x_shape, w_shape, noise_shape=None):
        batch, height, width, _ = x_shape
        factor = 2 if self.up else 1
        return batch, factor * height, factor * width, self.filters


class FoldedToRGB(_Folded):
    """`modulated_blocks.ToRGB` of fixed weights; called in the same way."""

    def build(self, x_shape, w_shape, noise_shape=None):
        super().build(x_shape, w_shape)
        self.folded_kernel = self._weight("folded_kernel", (x_shape[-1], self.filters))

    def fold(self, conv):
        self.folded_kernel.assign(super().fold(conv)[0, 0])

    def call(self, x, w):
        _, height, width, channels = x.shape
        x = tf.cast(x, self.compute_dtype)
        # So few channels come out that the kernels of all samples cost less to scale
        # than the features.
        kernel = self.style(w)[:, :, tf.newaxis] * self.folded_kernel  # [N, C, F]
        bias = tf.cast(self.bias, x.dtype)
        if x.shape[0] == 1:
            kernel = tf.cast(kernel, x.dtype)[tf.newaxis]
            x = tf.nn.bias_add(convolution.conv2d(x, kernel, 1, "VALID"), bias)
            return self._clamped(x)
        x = tf.reshape(x, [-1, height * width, channels])
        x = tf.matmul(x, tf.cast(kernel, x.dtype))  # [N, H W, F]
        x = tf.reshape(x, [-1, height, width, self.filters])
        return self._clamped(x + tf.cast(self.bias, x.dtype))

    def compute_output_shape(self, x_shape, w_shape):
        return (*x_shape[:-1], self.filters)


class _Blur:
    """The low-pass after a transposed convolution of stride 2 with a 3 x 3 kernel.

    What `resample.upsample_conv_2d` does there, [N, 2H + 1, 2W + 1, F] ->
    [N, 2H, 2W, F], without a pass for padding.
    """

    def __init__(self, taps):
        self.filter = resample.setup_filter(taps)
        self.taps = _correlated(taps)
        sides = self.taps.shape
        self.before_and_after = [((k - 3) // 2 + 1, (k - 4) // 2 + 1) for k in sides]

    def __call__(self, x):
        if ops.library.use_compiled("auto"):
            padding = sum(self.before_and_after, ())
            return ops.upfirdn2d(x, self.filter, padding=padding, gain=4.0)
        taps = self.taps[:, :, np.newaxis, np.newaxis]
        taps = np.tile(taps, [1, 1, x.shape[-1], 1])  # [Kh, Kw, F, 1]
        padding = [[0, 0], *self.before_and_after, [0, 0]]
        return tf.nn.depthwise_conv2d(x, tf.constant(taps, x.dtype), [1] * 4, padding)


def _correlated(taps):
    """[Kh, Kw] that zeros between pixels are correlated with: low-pass of sum 4."""
    taps = resample.setup_filter(taps)
    taps = np.outer(taps, taps) if taps.ndim == 1 else taps
    return 4 * taps[::-1, ::-1]  # keeps the mean brightness


def _phases(taps):
    """[K, K, 2, 2]: what the pixel (2y + i, 2x + j) takes of those around (y, x)."""
    taps = _correlated(taps)
    which = [_phases_of_axis(k) for k in taps.shape]
    return np.einsum("yik,xjl,kl->yxij", *which, taps)


def _phases_of_axis(count):
    """[K, 2, count]: 1 where phase and tap meet a pixel, not a zero between two.

    Tap k of phase i stands at i + k - before of the doubled image.
    """
    before = (count + 1) // 2
    reach = max(before, count - before) // 2
    found = np.zeros([2 * reach + 1, 2, count], np.float32)
    for phase in range(2):
        for tap in range(count):
            if (phase + tap - before) % 2 == 0:
                found[(phase + tap - before) // 2 + reach, phase, tap] = 1
    return found


def _maps(factor, dtype):
    """[N, C] as [N, 1, 1, C]."""
    return tf.cast(factor, dtype)[:, tf.newaxis, tf.newaxis, :]


def _to_rgb(network):
    return network.to_rgb if isinstance(network.to_rgb, list) else [network.to_rgb]


def _name(network, variable):
    """Path of a variable inside a network, wherever that stands."""
    return variable.path.rpartition(f"{network.name}/")[2]
