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
        # Blocks may know a way of their own for images.
        self.upsample = getattr(self.blocks, "upsample_2d", resample.upsample_2d)

    def build(self, input_shape=None):
        super().build(input_shape)
        for level, layer in enumerate(self.to_rgb):
            layer.build(self.shape(level), (None, self.w_dim))

    def begin(self, ws, noise):
        """Features, and the image, of the base grid."""
        x = self.first_level(ws, noise)
        return x, self.to_rgb[0](x, ws[:, 1])

    def step(self, level, state, ws, noise):
        x, y = state
        y = self.upsample(y, self.taps)  # [N, h, w, channels]
        x, image = self._level(level, x, ws, noise)
        return x, y + tf.cast(image, y.dtype)

    def finish(self, state, ws):
        return state[1]

    def contributions(self, ws, noise):
        """What each level adds to the images, [N, H, W, channels]: they add up to them.

        `noise` is that of a call, a list.
        """
        x, image = self.begin(ws, noise)
        found = [image]
        for level in range(1, self.doublings + 1):
            found = [resample.upsample_2d(y, self.taps) for y in found]
            x, image = self._level(level, x, ws, noise)
            found.append(tf.cast(image, found[0].dtype))
        return found

    def _level(self, level, x, ws, noise):
        """Features [N, h, w, C] of a level, and its own image [N, h, w, channels]."""
        x = self.next_level(level, x, ws, noise)
        return x, self.to_rgb[level](x, ws[:, 2 * level + 1])
