"""Growing synthesis (ProGAN, section 3; StyleGAN; StyleGAN2, configs A to D)."""

import keras
import tensorflow as tf

from tfstylegan.networks import growing, synthesis_trunk
from tfstylegan.ops import resample


@keras.saving.register_keras_serializable("tfstylegan")
class GrowingSynthesis(growing.Growing, synthesis_trunk.SynthesisTrunk):
    """The image of the last level in use, enlarged to full size.

    While that level fades in, it is blended with the enlarged image of the level below.
    At lod 0 this is a network of fixed size.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.to_rgb = [self.to_rgb_layer(i) for i in range(self.doublings + 1)]

    def build(self, input_shape=None):
        super().build(input_shape)
        self.add_lod()
        for level, layer in enumerate(self.to_rgb):
            layer.build(self.shape(level), (None, self.w_dim))

    @property
    def layers_in_use(self):
        return 2 * self.stage.levels

    def compose(self, ws, noise):
        stage = self.stage
        ws = self.guard(ws, stage)
        last = stage.levels - 1
        x, below = self.first_level(ws, noise), None
        for level in range(1, stage.levels):
            x, below = self.next_level(level, x, ws, noise), x  # [N, h, w, C]
        y = self._image(last, x, ws)  # [N, h, w, channels]
        if stage.fades:
            old = resample.upsample_nearest(self._image(last - 1, below, ws))
            y = self.fade(y, old, stage)
        return resample.upsample_nearest(y, 2 ** self.missing(stage))

    def _image(self, level, x, ws):
        image = self.to_rgb[level](x, ws[:, 2 * level + 1])
        return tf.cast(image, self.compute_dtype)
