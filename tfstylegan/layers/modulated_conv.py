"""Weight modulation and demodulation (StyleGAN2, section 2.2, equations 1-3).

In mixed precision the style, the kernel and the demodulation factor are float32: sums
of squares need its range and digits, and are small beside the convolution. In float16
style and kernel are divided by their largest values beforehand, which demodulation
cancels, so that their product with the features stays in range (StyleGAN2-ADA).
"""

import keras
import numpy as np
import tensorflow as tf

from tfstylegan import rng
from tfstylegan.layers import equalized
from tfstylegan.ops import convolution, resample

EPSILON = 1e-8


def modulated_conv2d(x, kernel, style, *, demodulate=True, up=False, taps=None):
    """Convolves each sample with its own modulated kernel.

    w'[k, c, f] = style[n, c] w[k, c, f];
    w'' = w' / sqrt(sum_{k, c} w'^2 + 1e-8) if `demodulate`. Scaling the input by the
    style and the output by the demodulation factor is the same without one kernel a
    sample, so no grouped convolution is needed.

    Args:
      x: [N, H, W, C].
      kernel: [K, K, C, F], already scaled for equalised learning rate.
      style: [N, C].
      demodulate: whether to divide by the norm of the modulated kernel.
      up: doubles height and width, smoothing with `taps`.
      taps: FIR kernel of `resample.setup_filter`; needed with `up`.

    Returns: [N, H, W, F], or [N, 2H, 2W, F] with `up`.
    """
    x = x * style[:, tf.newaxis, tf.newaxis, :]  # [N, H, W, C]
    if up:
        y = resample.upsample_conv_2d(x, kernel, taps)  # [N, 2H, 2W, F]
    else:
        y = convolution.conv2d(x, kernel, 1, "SAME")  # [N, H, W, F]
    if demodulate:
        y = y * demodulation(kernel, style)[:, tf.newaxis, tf.newaxis, :]
    return y


def demodulation(kernel, style):
    """1 / sqrt(sum_{k, c} w'^2 + 1e-8), w' as in `modulated_conv2d`: [N, F]."""
    power = tf.reduce_sum(tf.square(kernel), axis=(0, 1))  # [C, F]
    norm = tf.matmul(tf.square(style), power) + EPSILON  # [N, F]
    return tf.math.rsqrt(norm)


def prenormalized(kernel, style):
    """The same layer with demodulation, for numbers of small range (StyleGAN2-ADA).

    w / (sqrt(fan_in) max |w|), over [K, K, C] of each output channel, and
    s / max |s|, over the channels of each sample. The factors cancel but for the 1e-8
    of the demodulation, so that no gradient has to pass through them.
    """
    fan_in = np.sqrt(np.prod(kernel.shape[:3]))
    largest = tf.reduce_max(tf.abs(kernel), axis=(0, 1, 2))  # [F]
    kernel /= tf.stop_gradient(tf.maximum(largest, EPSILON)) * fan_in
    largest = tf.reduce_max(tf.abs(style), axis=1, keepdims=True)  # [N, 1]
    return kernel, style / tf.stop_gradient(tf.maximum(largest, EPSILON))


@keras.saving.register_keras_serializable("tfstylegan")
class ModulatedConv2D(keras.layers.Layer):
    """Convolution whose kernel is modulated by an affine map of w.

    Call with x [N, H, W, C] and w [N, D]; gives [N, H, W, filters], twice the height
    and width with `up`. The affine map starts at 1 for every channel. In mixed
    precision w stays in the type of the variables.
    """

    def __init__(
        self,
        filters,
        kernel_size=3,
        *,
        demodulate=True,
        up=False,
        resample_kernel=(1, 3, 3, 1),
        seed=None,
        **kwargs,
    ):
        super().__init__(autocast=False, **kwargs)
        if filters < 1:
            raise ValueError(f"filters must be at least 1; got {filters}")
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd; got {kernel_size}")
        self.filters = filters
        self.kernel_size = kernel_size
        self.demodulate = demodulate
        self.up = up
        self.resample_kernel = tuple(resample_kernel)
        self.seed = seed

    def build(self, x_shape, w_shape):
        size, channels = self.kernel_size, x_shape[-1]
        self.affine = equalized.EqualizedDense(
            channels,
            bias_init=1.0,
            seed=rng.child(self.seed, "affine"),
            dtype=self.variable_dtype,
            name="affine",
        )
        self.affine.build(w_shape)
        self.kernel = self.add_weight(
            name="kernel",
            shape=(size, size, channels, self.filters),
            initializer=rng.normal_initializer(self.seed, "kernel"),
            autocast=False,
        )
        self.scale = 1 / np.sqrt(size * size * channels)
        self.taps = resample.setup_filter(self.resample_kernel)

    def call(self, x, w):
        y, factor = self.convolve(x, w)
        if factor is None:
            return y
        return y * tf.cast(factor, y.dtype)[:, tf.newaxis, tf.newaxis, :]

    def convolve(self, x, w):
        """(y, factor [N, filters]), whose product `call` returns.

        For layers that fuse the product with what follows. factor, in the type of the
        variables, is None without demodulation.
        """
        style = self.affine(w)  # [N, C]
        kernel = self.kernel * tf.cast(self.scale, self.kernel.dtype)
        if self.demodulate and self.compute_dtype == "float16":
            kernel, style = prenormalized(kernel, style)
        y = modulated_conv2d(
            tf.cast(x, self.compute_dtype),
            tf.cast(kernel, self.compute_dtype),
            tf.cast(style, self.compute_dtype),
            demodulate=False,
            up=self.up,
            taps=self.taps,
        )
        return y, demodulation(kernel, style) if self.demodulate else None

    def compute_output_shape(self, x_shape, w_shape):
        batch, height, width, _ = x_shape
        factor = 2 if self.up else 1
        return batch, factor * height, factor * width, self.filters

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "demodulate": self.demodulate,
            "up": self.up,
            "resample_kernel": self.resample_kernel,
            "seed": self.seed,
        }
