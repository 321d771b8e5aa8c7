"""Dense and convolution layers with equalised learning rate (ProGAN, section 4.1).

Weights are stored as N(0, 1 / lr_mul) and scaled at run time by
lr_mul / sqrt(fan_in); biases by lr_mul. Adam then moves every layer at one speed.
"""

import math

import keras
import numpy as np
import tensorflow as tf

from tfstylegan import ops, rng
from tfstylegan.ops import resample


@keras.saving.register_keras_serializable("tfstylegan")
class EqualizedDense(keras.layers.Layer):
    """y = act(x W lr_mul / sqrt(C) + b lr_mul); x [N, C] -> y [N, units].

    `act` is a name of `ops.fused_bias_act`; its default gain (sqrt 2 for lrelu) is
    applied after it. `bias_init` is the effective bias at the start.
    """

    def __init__(
        self,
        units,
        *,
        act="linear",
        lr_mul=1.0,
        use_bias=True,
        bias_init=0.0,
        seed=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if units < 1:
            raise ValueError(f"units must be at least 1; got {units}")
        if not 0 < lr_mul < math.inf:
            raise ValueError(f"lr_mul must be positive and finite; got {lr_mul}")
        self.units = units
        self.act = act
        self.lr_mul = lr_mul
        self.use_bias = use_bias
        self.bias_init = bias_init
        self.seed = seed

    def build(self, input_shape):
        channels = input_shape[-1]
        self.kernel = self.add_weight(
            name="kernel",
            shape=(channels, self.units),
            initializer=rng.normal_initializer(self.seed, "kernel", 1 / self.lr_mul),
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias",
                shape=(self.units,),
                initializer=keras.initializers.Constant(self.bias_init / self.lr_mul),
            )
        self.scale = self.lr_mul / np.sqrt(channels)

    def call(self, x):
        kernel = self.kernel * tf.cast(self.scale, self.kernel.dtype)  # [C, F]
        bias = None if self.bias is None else self.bias * self.lr_mul
        y = tf.matmul(x, tf.cast(kernel, x.dtype))  # [N, F]
        if bias is not None:
            bias = tf.cast(bias, y.dtype)
        elif self.act == "linear":
            return y
        return ops.fused_bias_act(y, bias, act=self.act)

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
            "seed": self.seed,
        }


@keras.saving.register_keras_serializable("tfstylegan")
class EqualizedConv2D(keras.layers.Layer):
    """Convolution, optionally with resampling: x [N, H, W, C] -> [N, H', W', F].

    `resampling` is None (H' = H), "up" (H' = 2H; convolution, then FIR smoothing) or
    "down" (H' = H / 2; FIR smoothing, then convolution), with the FIR taps
    `resample_kernel` (StyleGAN2, appendix B). The result is
    act(conv(x) + b) * gain, by default with the gain of `ops.fused_bias_act`.
    """

    def __init__(
        self,
        filters,
        kernel_size=3,
        *,
        resampling=None,
        resample_kernel=(1, 3, 3, 1),
        act="linear",
        use_bias=True,
        gain=None,
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
        if gain is not None and (gain == 0 or not math.isfinite(gain)):
            raise ValueError(f"gain must be finite and not 0; got {gain}")
        self.filters = filters
        self.kernel_size = kernel_size
        self.resampling = resampling
        self.resample_kernel = tuple(resample_kernel)
        self.act = act
        self.use_bias = use_bias
        self.gain = gain
        self.seed = seed

    def build(self, input_shape):
        size, channels = self.kernel_size, input_shape[-1]
        self.kernel = self.add_weight(
            name="kernel",
            shape=(size, size, channels, self.filters),
            initializer=rng.normal_initializer(self.seed, "kernel"),
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias", shape=(self.filters,), initializer="zeros"
            )
        self.scale = 1 / np.sqrt(size * size * channels)
        self.taps = resample.setup_filter(self.resample_kernel)

    def call(self, x):
        linear = self.bias is None and self.act == "linear"
        scale = self.scale
        if linear and self.gain is not None:
            scale *= self.gain  # cheaper on the kernel than on y
        kernel = self.kernel * tf.cast(scale, self.kernel.dtype)  # [K, K, C, F]
        kernel = tf.cast(kernel, x.dtype)
        if self.resampling == "up":
            y = resample.upsample_conv_2d(x, kernel, self.taps)  # [N, 2H, 2W, F]
        elif self.resampling == "down":
            y = resample.conv_downsample_2d(x, kernel, self.taps)  # [N, H/2, W/2, F]
        else:
            y = tf.nn.conv2d(x, kernel, 1, "SAME")  # [N, H, W, F]
        if linear:
            return y
        bias = None if self.bias is None else tf.cast(self.bias, y.dtype)
        return ops.fused_bias_act(y, bias, act=self.act, gain=self.gain)

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
            "act": self.act,
            "use_bias": self.use_bias,
            "gain": self.gain,
            "seed": self.seed,
        }
