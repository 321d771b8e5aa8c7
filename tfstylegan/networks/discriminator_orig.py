"""Discriminator without shortcuts (StyleGAN2, figure 7, left column)."""

import keras

from tfstylegan.networks import discriminator_blocks


@keras.saving.register_keras_serializable("tfstylegan")
class OrigDiscriminator(discriminator_blocks.DiscriminatorTrunk):
    """The image enters at full size only."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.from_rgb = self.from_rgb_layer(self.doublings)
        self.build()

    def build(self, input_shape=None):
        super().build(input_shape)
        self.from_rgb.build(self.image_shape(self.doublings))

    def descend(self, images):
        x = self.from_rgb(images)  # [N, H, W, C]
        for conv, down in zip(self.convs[::-1], self.down_convs[::-1], strict=True):
            x = down(conv(x))  # [N, h, w, C]
        return x
