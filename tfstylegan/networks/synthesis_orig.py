"""Synthesis network without shortcuts (StyleGAN2, figure 7, left column)."""

import keras

from tfstylegan.networks import synthesis_trunk


@keras.saving.register_keras_serializable("tfstylegan")
class OrigSynthesis(synthesis_trunk.SynthesisTrunk):
    """Only the last level is turned into an image."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.to_rgb = self.to_rgb_layer(self.doublings)

    def build(self, input_shape=None):
        super().build(input_shape)
        self.to_rgb.build(self.shape(self.doublings), (None, self.w_dim))

    def begin(self, ws, noise):
        return self.first_level(ws, noise)

    def step(self, level, x, ws, noise):
        return self.next_level(level, x, ws, noise)

    def finish(self, x, ws):
        return self.to_rgb(x, ws[:, self.num_ws - 1])  # [N, H, W, channels]
