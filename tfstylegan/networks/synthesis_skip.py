"""Synthesis network with output skips (StyleGAN2, figure 7b; configs E and F)."""

import keras
import tensorflow as tf

from tfstylegan.networks import synthesis_trunk
from tfstylegan.ops import resample


@keras.saving.register_keras_serializable("tfstylegan")
class SkipSynthesis(synthesis_trunk.SynthesisTrunk):
    """Every level adds its own image to the upsampled image of the level below."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.to_rgb = [self.to_rgb_layer(i) for i in range(self.doublings + 1)]
        self.taps = resample.setup_filter(self.resample_kernel)

    def build(self, input_shape=None):
        super().build(input_shape)
        for level, layer in enumerate(self.to_rgb):
            layer.build(self.shape(level), (None, self.w_dim))

    def compose(self, ws, noise):
        x = self.first_level(ws, noise)
        y = self.to_rgb[0](x, ws[:, 1])
        for level in range(1, self.doublings + 1):
            x = self.next_level(level, x, ws, noise)  # [N, h, w, C]
            y = resample.upsample_2d(y, self.taps)  # [N, h, w, channels]
            y = y + tf.cast(self.to_rgb[level](x, ws[:, 2 * level + 1]), y.dtype)
        return y
