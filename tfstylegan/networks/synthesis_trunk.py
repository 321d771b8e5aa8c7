"""What the synthesis networks share (StyleGAN, figure 1b; StyleGAN2, section 4).

The constant, the styled convolutions and the noise. Level i has the base grid doubled
i times. `blocks` makes the layers (see `modulated_blocks`, `normalized_blocks`,
`adain_blocks`), subclasses say how they are joined. The k-th styled layer reads w
number k and noise number k; with StyleGAN2's layers those of level i are number 2i - 1
(up) and 2i, with StyleGAN's one more, and to_rgb reads w number 2i + 1.
"""

import math

import keras
import tensorflow as tf

from tfstylegan import fmaps, rng
from tfstylegan.networks import half, modulated_blocks

NOISE_MODES = ("random", "const", "none")


class SynthesisTrunk(keras.layers.Layer):
    """ws [N, L, D] -> images [N, H, W, channels]; subclasses say how:
    `compose`, or the steps that it consists of: `begin`, `step` and `finish`.

    The image is `base_grid` doubled `doublings` times; L = 2 (doublings + 1).
    `noise_mode`: "random" draws fresh noise of `seed` (int32 [2], by default a new one
    at each call), "const" takes the stored maps, "none" leaves noise out. `noise`, a
    list of [N or 1, h, w, 1] of the sizes `noise_sizes`, is used instead if given.
    `blocks` makes the layers, by default those of StyleGAN2. The `num_fp16_res` highest
    levels compute in `half_dtype`, if that is given (see `half`); features and images
    of levels stay within +- `conv_clamp`.
    """

    last_gain = None  # of the second convolution of a level above the first
    stage = None  # of growth: see `growing.Growing`

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
        blocks=None,
        half_dtype=None,
        num_fp16_res=4,
        conv_clamp=None,
        seed=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        half.check(half_dtype, num_fp16_res)
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
        self.blocks = blocks or modulated_blocks.ModulatedBlocks()
        self.half_dtype = half_dtype
        self.num_fp16_res = num_fp16_res
        self.conv_clamp = conv_clamp
        self.seed = seed
        levels = range(doublings + 1)
        height, width = self.base_grid
        self.sizes = [(height << i, width << i) for i in levels]
        self.widths = [
            fmaps.at_level(i, fmap_base=fmap_base, fmap_min=fmap_min, fmap_max=fmap_max)
            for i in levels
        ]
        self.num_ws = 2 * len(self.sizes)
        name = f"{self.size_name(0)}_start"
        self.start = self.blocks.start(self.shape(0)[1:], **self._options(0, name))
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
        if not self.blocks.noise:
            return []
        sizes = [size for size in self.sizes for _ in range(2)]
        return sizes if self.start is not None else sizes[1:]

    @property
    def layers_in_use(self):
        """How many of the ws, the first ones, make a difference."""
        return self.num_ws

    def size_name(self, level):
        """Name of a level after its grid, like "8x8"."""
        height, width = self.sizes[level]
        return f"{height}x{width}"

    def _styled_conv(self, level, name, gain=None, **kwargs):
        options = self._options(level, name)
        if gain is not None and self.conv_clamp is not None:
            options["clamp"] *= gain / math.sqrt(2)  # lrelu's own
        return self.blocks.conv(
            self.widths[level],
            resample_kernel=self.resample_kernel,
            gain=gain,
            **options,
            **kwargs,
        )

    def _options(self, level, name):
        return {
            "clamp": self.conv_clamp,
            "seed": rng.child(self.seed, name),
            "dtype": half.policy(self, level),
            "name": name,
        }

    def to_rgb_layer(self, level):
        """A new to_rgb layer for a level; subclasses keep those they need."""
        name = f"{self.size_name(level)}_to_rgb"
        return self.blocks.to_rgb(self.channels, **self._options(level, name))

    def shape(self, level):
        """Shape of the features at a level."""
        return (None, *self.sizes[level], self.widths[level])

    def build(self, input_shape=None):
        w_shape = (None, self.w_dim)
        if self.start is None:
            self.const = self.add_weight(
                name="const",
                shape=(1, *self.sizes[0], self.widths[0]),
                initializer=rng.normal_initializer(self.seed, "const"),
                autocast=False,
            )
        else:
            self.start.build(w_shape)
        for level, conv in enumerate(self.up_convs):
            conv.build(self.shape(level), w_shape)
        for level, conv in enumerate(self.convs):
            conv.build(self.shape(level), w_shape)

    def call(self, ws, noise_mode="random", seed=None, noise=None):
        if noise is None:
            noise = self._noise(tf.shape(ws)[0], noise_mode, seed)
        if not self.blocks.noise:
            noise = [None] * self.num_ws
        return tf.cast(self.compose(ws, noise), self.compute_dtype)

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
        """Fresh noise maps [batch, h, w, 1] of the stateless seed (int32 [2]).

        Those of the layers in use, so that a growing network draws no large ones.
        """
        unused = self.num_ws - self.layers_in_use
        sizes = self.noise_sizes[: len(self.noise_sizes) - unused]
        return [
            rng.normal(tf.random.fold_in(seed, i), [batch, *size, 1])
            for i, size in enumerate(sizes)
        ]

    @property
    def fixed_noise(self):
        """The stored noise maps [1, h, w, 1]."""
        if not self.blocks.noise:
            return []
        return [layer.noise.fixed for layer in self.styled_layers]

    @property
    def styled_layers(self):
        """The layers that read ws and noise, in this order."""
        layers = [self.convs[0]] if self.start is None else [self.start, self.convs[0]]
        for pair in zip(self.up_convs, self.convs[1:], strict=True):
            layers += pair
        return layers

    def compose(self, ws, noise):
        """Images [N, H, W, channels], a level after the other."""
        state = self.begin(ws, noise)
        for level in range(1, self.doublings + 1):
            state = self.step(level, state, ws, noise)
        return self.finish(state, ws)

    def first_level(self, ws, noise):
        """Features of the base grid, [N, h, w, C]."""
        if self.start is None:
            x = tf.tile(self.const, [tf.shape(ws)[0], 1, 1, 1])
            return self.convs[0](tf.cast(x, self.compute_dtype), ws[:, 0], noise[0])
        return self.convs[0](self.start(ws[:, 0], noise[0]), ws[:, 1], noise[1])

    def next_level(self, level, x, ws, noise):
        """Features of `level` from those of the level below, [N, 2h, 2w, C]."""
        i = 2 * level - (1 if self.start is None else 0)
        x = self.up_convs[level - 1](x, ws[:, i], noise[i])
        return self.convs[level](x, ws[:, i + 1], noise[i + 1])

    def grow(self, lod):
        """Refuses any other lod than 0: see `synthesis_growing`."""
        if lod:
            raise ValueError(f"lod must be 0 for a network of fixed size; got {lod}")

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
            "half_dtype": self.half_dtype,
            "num_fp16_res": self.num_fp16_res,
            "conv_clamp": self.conv_clamp,
            "blocks": keras.saving.serialize_keras_object(self.blocks),
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config):
        blocks = config.get("blocks")  # networks of earlier versions have none
        if isinstance(blocks, dict):
            blocks = keras.saving.deserialize_keras_object(blocks)
        return cls(**{**config, "blocks": blocks})
