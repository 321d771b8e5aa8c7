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

    def compose(self, ws, noise):
        y, *others = self._images(ws, noise)
        for image in others:
            y = self.upsample(y, self.taps)  # [N, h, w, channels]
            y = y + image
        return y

    def contributions(self, ws, noise):
        """What each level adds to the images, [N, H, W, channels]: they add up to them.

        `noise` is that of a call, a list.
        """
        found = []
        for y in self._images(ws, noise):
            found = [resample.upsample_2d(x, self.taps) for x in found]
            found.append(y)
        return found

    def _images(self, ws, noise):
        """The image of each level, [N, h, w, channels], the coarsest first."""
        x = self.first_level(ws, noise)
        images = [self.to_rgb[0](x, ws[:, 1])]
        for level in range(1, self.doublings + 1):
            x = self.next_level(level, x, ws, noise)  # [N, h, w, C]
            image = self.to_rgb[level](x, ws[:, 2 * level + 1])
            images.append(tf.cast(image, images[0].dtype))
        return images
