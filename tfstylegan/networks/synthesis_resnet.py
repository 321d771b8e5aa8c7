"""Synthesis network with residual levels (StyleGAN2, figure 7c)."""

import keras

from tfstylegan import rng
from tfstylegan.layers import equalized
from tfstylegan.networks import half, residual, synthesis_trunk


@keras.saving.register_keras_serializable("tfstylegan")
class ResnetSynthesis(synthesis_trunk.SynthesisTrunk):
    """Each level is (its convolutions + an upsampled 1x1 projection) / sqrt(2)."""

    last_gain = residual.LAST_GAIN

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.skips = [self._skip(i) for i in range(1, self.doublings + 1)]
        self.to_rgb = self.to_rgb_layer(self.doublings)

    def _skip(self, level):
        name = f"{self.size_name(level)}_skip"
        return equalized.EqualizedConv2D(
            self.widths[level],
            1,
            resampling="up",
            resample_kernel=self.resample_kernel,
            use_bias=False,
            gain=residual.RESIDUAL_GAIN,
            seed=rng.child(self.seed, name),
            dtype=half.policy(self, level),
            name=name,
        )

    def build(self, input_shape=None):
        super().build(input_shape)
        for level, skip in enumerate(self.skips):
            skip.build(self.shape(level))
        self.to_rgb.build(self.shape(self.doublings), (None, self.w_dim))

    def begin(self, ws, noise):
        return self.first_level(ws, noise)

    def step(self, level, x, ws, noise):
        shortcut = self.skips[level - 1](x)  # [N, h, w, C]
        return self.next_level(level, x, ws, noise) + shortcut

    def finish(self, x, ws):
        return self.to_rgb(x, ws[:, self.num_ws - 1])  # [N, H, W, channels]
