"""Dense and convolution layers with equalised learning rate (ProGAN, section 4.1).

Weights are stored as N(0, 1 / lr_mul) and scaled at run time by
lr_mul / sqrt(fan_in); biases by lr_mul. Adam then moves every layer at one speed.

For leaky ReLU a gain of sqrt 2 keeps the variance. StyleGAN2 has it behind the
activation (`gain`), StyleGAN in the kernel (`kernel_gain`, with a `gain` of 1): the two
differ in the bias.

In mixed precision weights are scaled in float32 and rounded once, which is why they are
not autocast.
"""

import math

import keras
import numpy as np
import tensorflow as tf

from tfstylegan import ops, rng
from tfstylegan.ops import convolution, resample


def _check_gains(gain, kernel_gain):
    for name, value in (("gain", gain), ("kernel_gain", kernel_gain)):
        if value is not None and (value == 0 or not math.isfinite(value)):
            raise ValueError(f"{name} must be finite and not 0; got {value}")


def check_clamp(clamp):
    """Raises ValueError for a limit of activations that is none."""
    if clamp is not None and not 0 < clamp < math.inf:
        raise ValueError(f"clamp must be positive and finite, or None; got {clamp}")


@keras.saving.register_keras_serializable("tfstylegan")
class EqualizedDense(keras.layers.Layer):
    """y = gain act(kernel_gain x W lr_mul / sqrt(C) + b lr_mul); [N, C] -> [N, units].

    `act` is a name of `ops.fused_bias_act`, and `gain` by default its gain (sqrt 2 for
    lrelu). `bias_init` is the effective bias at the start.
    """

    def __init__(
        self,
        units,
        *,
        act="linear",
        lr_mul=1.0,
        use_bias=True,
        bias_init=0.0,
        gain=None,
        kernel_gain=1.0,
        seed=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if units < 1:
            raise ValueError(f"units must be at least 1; got {units}")
        if not 0 < lr_mul < math.inf:
            raise ValueError(f"lr_mul must be positive and finite; got {lr_mul}")
        _check_gains(gain, kernel_gain)
        self.units = units
        self.act = act
        self.lr_mul = lr_mul
        self.use_bias = use_bias
        self.bias_init = bias_init
        self.gain = gain
        self.kernel_gain = kernel_gain
        self.seed = seed

    def build(self, input_shape):
        channels = input_shape[-1]
        self.kernel = self.add_weight(
            name="kernel",
            shape=(channels, self.units),
            initializer=rng.normal_initializer(self.seed, "kernel", 1 / self.lr_mul),
            autocast=False,
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias",
                shape=(self.units,),
                initializer=keras.initializers.Constant(self.bias_init / self.lr_mul),
                autocast=False,
            )
        self.scale = self.kernel_gain * self.lr_mul / np.sqrt(channels)

    def call(self, x):
        return self.transform(x, self.kernel, self.scale)

    def transform(self, x, kernel, scale):
        """What `call` makes of x with another kernel [C, F] and factor of it."""
        kernel = kernel * tf.cast(scale, kernel.dtype)
        bias = None if self.bias is None else self.bias * self.lr_mul
        y = tf.matmul(x, tf.cast(kernel, x.dtype))  # [N, F]
        if bias is not None:
            bias = tf.cast(bias, y.dtype)
        elif self.act == "linear" and self.gain is None:
            return y
        return ops.fused_bias_act(y, bias, act=self.act, gain=self.gain)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.units)

    def get_config(self):
        return {
            **super().get_config(),
            "units": self.units,
            "act": self.act,
            "lr_mul": self.lr_mul,
            "use_bias": self.use_bias,
            "bias_init": self.bias_init,
            "gain": self.gain,
            "kernel_gain": self.kernel_gain,
            "seed": self.seed,
        }


@keras.saving.register_keras_serializable("tfstylegan")
class EqualizedConv2D(keras.layers.Layer):
    """Convolution, optionally with resampling: x [N, H, W, C] -> [N, H', W', F].

    `resampling` is None (H' = H), "up" (H' = 2H; convolution, then FIR smoothing) or
    "down" (H' = H / 2; FIR smoothing, then convolution), with the FIR taps
    `resample_kernel` (StyleGAN2, appendix B); taps (1, 1) are nearest-neighbour
    upsampling before, box downsampling after the convolution. `blur_kernel` are the
    taps, odd in number, of one more filter at the larger size: after an up-, before a
    down-convolution (StyleGAN, section 2). The result is
    act(kernel_gain conv(x) + b) * gain, by default with the gain of
    `ops.fused_bias_act`, and within +- `clamp` if that is given.
    """

    def __init__(
        self,
        filters,
        kernel_size=3,
        *,
        resampling=None,
        resample_kernel=(1, 3, 3, 1),
        blur_kernel=None,
        act="linear",
        use_bias=True,
        gain=None,
        kernel_gain=1.0,
        clamp=None,
        seed=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if filters < 1:
            raise ValueError(f"filters must be at least 1; got {filters}")
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd; got {kernel_size}")
        if resampling not in (None, "up", "down"):
            raise ValueError(
                f"resampling must be None, 'up' or 'down'; got {resampling!r}"
            )
        if blur_kernel is not None and (
            resampling is None or len(blur_kernel) % 2 == 0
        ):
            raise ValueError(
                "blur_kernel must hold an odd number of taps, or be None without "
                f"resampling; got {blur_kernel} with resampling {resampling!r}"
            )
        _check_gains(gain, kernel_gain)
        check_clamp(clamp)
        self.filters = filters
        self.kernel_size = kernel_size
        self.resampling = resampling
        self.resample_kernel = tuple(resample_kernel)
        self.blur_kernel = None if blur_kernel is None else tuple(blur_kernel)
        self.act = act
        self.use_bias = use_bias
        self.gain = gain
        self.kernel_gain = kernel_gain
        self.clamp = clamp
        self.seed = seed

    def build(self, input_shape):
        size, channels = self.kernel_size, input_shape[-1]
        self.kernel = self.add_weight(
            name="kernel",
            shape=(size, size, channels, self.filters),
            initializer=rng.normal_initializer(self.seed, "kernel"),
            autocast=False,
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias", shape=(self.filters,), initializer="zeros", autocast=False
            )
        self.scale = self.kernel_gain / np.sqrt(size * size * channels)
        self.taps = resample.setup_filter(self.resample_kernel)

    def call(self, x):
        return self.transform(x, self.kernel, self.scale)

    def transform(self, x, kernel, scale):
        """What `call` makes of x with another kernel and factor of it."""
        linear = self.bias is None and self.act == "linear"
        if linear and self.gain is not None:
            scale *= self.gain  # cheaper on the kernel than on y
        kernel = kernel * tf.cast(scale, kernel.dtype)  # [K, K, C, F]
        kernel = tf.cast(kernel, x.dtype)
        if self.resampling == "up":
            y = resample.upsample_conv_2d(x, kernel, self.taps)  # [N, 2H, 2W, F]
            y = self._blurred(y)
        elif self.resampling == "down":
            x = self._blurred(x)
            y = resample.conv_downsample_2d(x, kernel, self.taps)  # [N, H/2, W/2, F]
        else:
            y = convolution.conv2d(x, kernel, 1, "SAME")  # [N, H, W, F]
        gain, bias = self.gain, self.bias
        if linear and self.clamp is None:
            return y
        if linear:
            gain = None  # it is in y
        if bias is not None:
            bias = tf.cast(bias, y.dtype)
        return ops.fused_bias_act(y, bias, act=self.act, gain=gain, clamp=self.clamp)

    def _blurred(self, x):
        if self.blur_kernel is None or len(self.blur_kernel) == 1:
            return x
        return resample.filter_2d(x, self.blur_kernel)

    def compute_output_shape(self, input_shape):
        batch, height, width, _ = input_shape
        if self.resampling == "up":
            height, width = 2 * height, 2 * width
        elif self.resampling == "down":
            height, width = height // 2, width // 2
        return batch, height, width, self.filters

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "resampling": self.resampling,
            "resample_kernel": self.resample_kernel,
            "blur_kernel": self.blur_kernel,
            "clamp": self.clamp,
            "act": self.act,
            "use_bias": self.use_bias,
            "gain": self.gain,
            "kernel_gain": self.kernel_gain,
            "seed": self.seed,
        }
