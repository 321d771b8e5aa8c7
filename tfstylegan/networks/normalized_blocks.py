"""Layers that normalise by the actual deviation (StyleGAN2, figure 2c).

The step between StyleGAN and StyleGAN2: as the modulated convolution, but what divides
each feature map is its own standard deviation, not the one that the kernel lets expect.
"""

import dataclasses

import keras

from tfstylegan.layers import normalization
from tfstylegan.networks import modulated_blocks


@keras.saving.register_keras_serializable("tfstylegan")
class NormalizedConv(modulated_blocks.StyledConv):
    """lrelu(y / deviation(y) + strength noise + b) gain, y = conv(style(w) x).

    Called as `modulated_blocks.StyledConv`; the deviation is over space, of each map
    of each sample.
    """

    demodulate = False

    def convolve(self, x, w):
        y, _ = super().convolve(x, w)  # [N, H', W', F]
        return y, normalization.inverse_deviation(y)


@keras.saving.register_keras_serializable("tfstylegan")
@dataclasses.dataclass(frozen=True)
class NormalizedBlocks(modulated_blocks.ModulatedBlocks):
    """Makes the layers of a synthesis network; see `modulated_blocks`."""

    def conv(self, filters, **options):
        return NormalizedConv(filters, **options)
