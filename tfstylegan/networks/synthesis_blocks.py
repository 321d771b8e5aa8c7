"""Parts of the StyleGAN2 synthesis networks (StyleGAN2, figure 2d and section 4).

`SynthesisTrunk` holds what the orig, skip and resnet networks share: the constant, the
styled convolutions and the noise. Level i has the base grid doubled i times; its
convolutions read w number 2i - 1 (up) and 2i, its to_rgb reads w number 2i + 1.
"""

import keras
import tensorflow as tf

from tfstylegan import fmaps, ops, rng
from tfstylegan.layers import modulated_conv, noise

NOISE_MODES = ("random", "const", "none")


@keras.saving.register_keras_serializable("tfstylegan")
class StyledConv(keras.layers.Layer):
    """lrelu(modulated_conv(x, w) + strength noise + b) gain, by default sqrt(2).

    Call with x [N, H, W, C], w [N, D] and noise [N or 1, H', W', 1] or None; gives
    [N, H', W', filters], where H' = 2H with `up`, else H.
    """

    def __init__(
        self,
        filters,
        *,
        up=False,
        resample_kernel=(1, 3, 3, 1),
        gain=None,
        seed=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.filters = filters
        self.up = up
        self.resample_kernel = tuple(resample_kernel)
        self.gain = gain
        self.seed = seed
        self.conv = modulated_conv.ModulatedConv2D(
            filters,
            up=up,
            resample_kernel=resample_kernel,
            seed=rng.child(seed, "conv"),
            dtype=self.dtype_policy,
            name="conv",
        )
        self.noise = noise.NoiseInput(
            seed=rng.child(seed, "noise"), dtype=self.dtype_policy, name="noise"
        )

    def build(self, x_shape, w_shape, noise_shape=None):
        self.conv.build(x_shape, w_shape)
        self.noise.build(self.conv.compute_output_shape(x_shape, w_shape))
        self.bias = self.add_weight(
            name="bias", shape=(self.filters,), initializer="zeros"
        )

    def call(self, x, w, noise=None):
        x, factor = self.conv.convolve(x, w)  # [N, H', W', F], [N, F]
        strength = None if noise is None else self.noise.strength
        return ops.styled_epilogue(
            x, factor, noise, strength, self.bias, act="lrelu", gain=self.gain
        )

    def compute_output_shape(self, x_shape, w_shape, noise_shape=None):
        return self.conv.compute_output_shape(x_shape, w_shape)

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "up": self.up,
            "resample_kernel": self.resample_kernel,
            "gain": self.gain,
            "seed": self.seed,
        }


@keras.saving.register_keras_serializable("tfstylegan")
class ToRGB(keras.layers.Layer):
    """1x1 modulated convolution without demodulation, plus bias.

    Call with x [N, H, W, C] and w [N, D]; gives [N, H, W, channels].
    """

    def __init__(self, channels, *, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.channels = channels
        self.seed = seed
        self.conv = modulated_conv.ModulatedConv2D(
            channels,
            1,
            demodulate=False,
            seed=rng.child(seed, "conv"),
            dtype=self.dtype_policy,
            name="conv",
        )

    def build(self, x_shape, w_shape):
        self.conv.build(x_shape, w_shape)
        self.bias = self.add_weight(
            name="bias", shape=(self.channels,), initializer="zeros"
        )

    def call(self, x, w):
        x = self.conv(x, w)  # [N, H, W, channels]
        return x + tf.cast(self.bias, x.dtype)

    def compute_output_shape(self, x_shape, w_shape):
        return (*x_shape[:-1], self.channels)

    def get_config(self):
        return {
            **super().get_config(),
            "channels": self.channels,
            "seed": self.seed,
        }


class SynthesisTrunk(keras.layers.Layer):
    """ws [N, L, D] -> images [N, H, W, channels]; subclasses say how (`compose`).

    The image is `base_grid` doubled `doublings` times; L = 2 (doublings + 1).
    `noise_mode`: "random" draws fresh noise of `seed` (int32 [2], by default a new one
    at each call), "const" takes the stored maps, "none" leaves noise out. `noise`, a
    list of [N or 1, h, w, 1] of the sizes `noise_sizes`, is used instead if given.
    """

    last_gain = None  # of the second convolution of a level above the first

    def __init__(
        self,
        *,
        w_dim=512,
        base_grid=(4, 4),
        doublings=6,
        channels=3,
        fmap_base=16384,
        fmap_min=1,
        fmap_max=512,
        resample_kernel=(1, 3, 3, 1),
        seed=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if doublings < 1:
            raise ValueError(f"doublings must be at least 1; got {doublings}")
        self.w_dim = w_dim
        self.base_grid = tuple(base_grid)
        self.doublings = doublings
        self.channels = channels
        self.fmap_base = fmap_base
        self.fmap_min = fmap_min
        self.fmap_max = fmap_max
        self.resample_kernel = tuple(resample_kernel)
        self.seed = seed
        levels = range(doublings + 1)
        height, width = self.base_grid
        self.sizes = [(height << i, width << i) for i in levels]
        self.widths = [
            fmaps.at_level(i, fmap_base=fmap_base, fmap_min=fmap_min, fmap_max=fmap_max)
            for i in levels
        ]
        self.num_ws = 2 * len(self.sizes)
        self.up_convs = [
            self._styled_conv(i, f"{self.size_name(i)}_conv_up", up=True)
            for i in levels[1:]
        ]
        self.convs = [
            self._styled_conv(
                i, f"{self.size_name(i)}_conv", gain=self.last_gain if i else None
            )
            for i in levels
        ]

    @property
    def noise_sizes(self):
        """(height, width) of each noise input, in the order they are used."""
        return [self.sizes[0]] + [size for size in self.sizes[1:] for _ in range(2)]

    def size_name(self, level):
        """Name of a level after its grid, like "8x8"."""
        height, width = self.sizes[level]
        return f"{height}x{width}"

    def _styled_conv(self, level, name, **kwargs):
        return StyledConv(
            self.widths[level],
            resample_kernel=self.resample_kernel,
            seed=rng.child(self.seed, name),
            dtype=self.dtype_policy,
            name=name,
            **kwargs,
        )

    def to_rgb_layer(self, level):
        """A new to_rgb layer for a level; subclasses keep those they need."""
        name = f"{self.size_name(level)}_to_rgb"
        seed = rng.child(self.seed, name)
        return ToRGB(self.channels, seed=seed, dtype=self.dtype_policy, name=name)

    def shape(self, level):
        """Shape of the features at a level."""
        return (None, *self.sizes[level], self.widths[level])

    def build(self, input_shape=None):
        w_shape = (None, self.w_dim)
        self.const = self.add_weight(
            name="const",
            shape=(1, *self.sizes[0], self.widths[0]),
            initializer=rng.normal_initializer(self.seed, "const"),
        )
        for level, conv in enumerate(self.up_convs):
            conv.build(self.shape(level), w_shape)
        for level, conv in enumerate(self.convs):
            conv.build(self.shape(level), w_shape)

    def call(self, ws, noise_mode="random", seed=None, noise=None):
        if noise is None:
            noise = self._noise(tf.shape(ws)[0], noise_mode, seed)
        return self.compose(ws, noise)

    def _noise(self, batch, mode, seed):
        if mode not in NOISE_MODES:
            raise ValueError(
                f"noise_mode must be one of {', '.join(NOISE_MODES)}; got {mode!r}"
            )
        if mode == "none":
            return [None] * len(self.noise_sizes)
        if mode == "const":
            return self.fixed_noise
        seed = rng.fresh_seed() if seed is None else seed
        return self.draw_noise(batch, seed)

    def draw_noise(self, batch, seed):
        """Fresh noise maps [batch, h, w, 1] of the stateless seed (int32 [2])."""
        return [
            rng.normal(tf.random.fold_in(seed, i), [batch, *size, 1])
            for i, size in enumerate(self.noise_sizes)
        ]

    @property
    def fixed_noise(self):
        """The stored noise maps [1, h, w, 1]."""
        maps = [self.convs[0].noise.fixed]
        for up_conv, conv in zip(self.up_convs, self.convs[1:], strict=True):
            maps += [up_conv.noise.fixed, conv.noise.fixed]
        return maps

    def first_level(self, ws, noise):
        """Features of the base grid, [N, h, w, C]."""
        x = tf.tile(self.const, [tf.shape(ws)[0], 1, 1, 1])
        return self.convs[0](tf.cast(x, self.compute_dtype), ws[:, 0], noise[0])

    def next_level(self, level, x, ws, noise):
        """Features of `level` from those of the level below, [N, 2h, 2w, C]."""
        i = 2 * level - 1
        x = self.up_convs[level - 1](x, ws[:, i], noise[i])
        return self.convs[level](x, ws[:, i + 1], noise[i + 1])

    def compute_output_shape(self, ws_shape, **_):
        return (ws_shape[0], *self.sizes[-1], self.channels)

    def get_config(self):
        return {
            **super().get_config(),
            "w_dim": self.w_dim,
            "base_grid": self.base_grid,
            "doublings": self.doublings,
            "channels": self.channels,
            "fmap_base": self.fmap_base,
            "fmap_min": self.fmap_min,
            "fmap_max": self.fmap_max,
            "resample_kernel": self.resample_kernel,
            "seed": self.seed,
        }
