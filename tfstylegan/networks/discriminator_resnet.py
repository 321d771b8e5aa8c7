"""Residual discriminator (StyleGAN2, figure 7c; configs E and F)."""

import keras
import numpy as np

from tfstylegan.networks import discriminator_blocks

HALF = float(np.sqrt(0.5))  # of a branch: keeps the variance of the sum of two


@keras.saving.register_keras_serializable("tfstylegan")
class ResnetDiscriminator(discriminator_blocks.DiscriminatorTrunk):
    """Each level is (its convolutions + a downsampled 1x1 projection) / sqrt(2)."""

    last_gain = float(np.sqrt(2)) * HALF  # lrelu's own gain, times the branch's

    def build(self, input_shape=None):
        top = self.doublings
        self.from_rgb = self.conv_layer(top, top, "from_rgb", size=1)
        self.from_rgb.build((None, *self.sizes[top], self.channels))
        self.skips = [self._skip(i) for i in range(1, top + 1)]
        for level, skip in enumerate(self.skips, start=1):
            skip.build(self.shape(level))
        super().build(input_shape)

    def _skip(self, level):
        return self.conv_layer(
            level,
            level - 1,
            "skip",
            size=1,
            act="linear",
            resampling="down",
            use_bias=False,
            gain=HALF,
        )

    def descend(self, images):
        x = self.from_rgb(images)  # [N, H, W, C]
        for level in range(self.doublings, 0, -1):
            shortcut = self.skips[level - 1](x)  # [N, h, w, C]
            x = self.down_convs[level - 1](self.convs[level - 1](x)) + shortcut
        return x
