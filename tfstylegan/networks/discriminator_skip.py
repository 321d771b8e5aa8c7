"""Discriminator with input skips (StyleGAN2, figure 7b)."""

import keras

from tfstylegan.networks import discriminator_blocks
from tfstylegan.ops import resample


@keras.saving.register_keras_serializable("tfstylegan")
class SkipDiscriminator(discriminator_blocks.DiscriminatorTrunk):
    """Every level adds its view of the downsampled image."""

    def build(self, input_shape=None):
        self.from_rgb = [
            self.conv_layer(i, i, "from_rgb", size=1) for i in range(self.doublings + 1)
        ]
        for level, layer in enumerate(self.from_rgb):
            layer.build((None, *self.sizes[level], self.channels))
        self.taps = resample.setup_filter(self.resample_kernel)
        super().build(input_shape)

    def descend(self, images):
        x = self.from_rgb[self.doublings](images)  # [N, H, W, C]
        for level in range(self.doublings, 0, -1):
            x = self.down_convs[level - 1](self.convs[level - 1](x))
            images = resample.downsample_2d(images, self.taps)
            x = x + self.from_rgb[level - 1](images)  # [N, h, w, C]
        return x
