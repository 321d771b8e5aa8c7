"""Discriminator without shortcuts (StyleGAN2, figure 7, left column)."""

import keras

from tfstylegan.networks import discriminator_blocks


@keras.saving.register_keras_serializable("tfstylegan")
class OrigDiscriminator(discriminator_blocks.DiscriminatorTrunk):
    """The image enters at full size only."""

    def build(self, input_shape=None):
        top = self.doublings
        self.from_rgb = self.conv_layer(top, top, "from_rgb", size=1)
        self.from_rgb.build((None, *self.sizes[top], self.channels))
        super().build(input_shape)

    def descend(self, images):
        x = self.from_rgb(images)  # [N, H, W, C]
        for conv, down in zip(self.convs[::-1], self.down_convs[::-1], strict=True):
            x = down(conv(x))  # [N, h, w, C]
        return x
