"""Discriminator with input skips (StyleGAN2, figure 7b)."""

import keras
import tensorflow as tf

from tfstylegan.networks import discriminator_blocks
from tfstylegan.ops import resample


@keras.saving.register_keras_serializable("tfstylegan")
class SkipDiscriminator(discriminator_blocks.DiscriminatorTrunk):
    """Every level adds its view of the downsampled image."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.from_rgb = [self.from_rgb_layer(i) for i in range(self.doublings + 1)]
        self.taps = resample.setup_filter(self.resample_kernel)
        self.build()

    def build(self, input_shape=None):
        super().build(input_shape)
        for level, layer in enumerate(self.from_rgb):
            layer.build(self.image_shape(level))

    def descend(self, images):
        x = self.from_rgb[self.doublings](images)  # [N, H, W, C]
        for level in range(self.doublings, 0, -1):
            x = self.down_convs[level - 1](self.convs[level - 1](x))
            images = resample.downsample_2d(images, self.taps)
            y = self.from_rgb[level - 1](images)  # [N, h, w, C]
            x = tf.cast(x, y.dtype) + y
        return x
