"""Residual discriminator (StyleGAN2, figure 7c; configs E and F)."""

import keras

from tfstylegan.networks import discriminator_blocks, residual


@keras.saving.register_keras_serializable("tfstylegan")
class ResnetDiscriminator(discriminator_blocks.DiscriminatorTrunk):
    """Each level is (its convolutions + a downsampled 1x1 projection) / sqrt(2)."""

    last_gain = residual.LAST_GAIN

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.from_rgb = self.from_rgb_layer(self.doublings)
        self.skips = [self._skip(i) for i in range(1, self.doublings + 1)]
        self.build()

    def _skip(self, level):
        return self.conv_layer(
            level,
            level - 1,
            "skip",
            size=1,
            act="linear",
            resampling="down",
            use_bias=False,
            gain=residual.RESIDUAL_GAIN,
        )

    def build(self, input_shape=None):
        super().build(input_shape)
        self.from_rgb.build(self.image_shape(self.doublings))
        for level, skip in enumerate(self.skips, start=1):
            skip.build(self.shape(level))

    def descend(self, images):
        x = self.from_rgb(images)  # [N, H, W, C]
        for level in range(self.doublings, 0, -1):
            shortcut = self.skips[level - 1](x)  # [N, h, w, C]
            x = self.down_convs[level - 1](self.convs[level - 1](x)) + shortcut
        return x
