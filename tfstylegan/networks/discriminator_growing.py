"""Growing discriminator (ProGAN, section 3; StyleGAN; StyleGAN2, configs A to D)."""

import keras
import tensorflow as tf

from tfstylegan.networks import discriminator_blocks, growing
from tfstylegan.ops import resample


@keras.saving.register_keras_serializable("tfstylegan")
class GrowingDiscriminator(growing.Growing, discriminator_blocks.DiscriminatorTrunk):
    """The image of full size, shrunk to the last level in use, enters there.

    While that level fades in, what it gives is blended with what the level below makes
    of the image itself. At lod 0 this is a network of fixed size.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.from_rgb = [self.from_rgb_layer(i) for i in range(self.doublings + 1)]
        self.build()

    def build(self, input_shape=None):
        super().build(input_shape)
        self.add_lod()
        for level, layer in enumerate(self.from_rgb):
            layer.build(self.image_shape(level))

    def descend(self, images):
        stage = self.stage
        last = stage.levels - 1
        images = self.guard(images, stage)
        images = resample.downsample_box(images, 2 ** self.missing(stage))
        x = self.from_rgb[last](images)  # [N, h, w, C]
        for level in range(last, 0, -1):
            x = self.down_convs[level - 1](self.convs[level - 1](x))
            if stage.fades and level == last:
                images = resample.downsample_box(images)
                old = self.from_rgb[level - 1](images)
                x = self.fade(tf.cast(x, old.dtype), old, stage)
        return x
