"""A model's own discriminator as detector: features and distance without any weights.

Its numbers compare generators by one discriminator, not models with one of their own.
"""

import hashlib

import numpy as np
import tensorflow as tf

from tfstylegan.data import pipeline
from tfstylegan.metrics.detectors import maps


class Discriminator:
    """Features are the means of the maps at the base grid, the distance is of these.

    Args:
      network: a discriminator; what is called on images alone.
    """

    def __init__(self, network):
        self.dims = network.widths[0]
        digest = hashlib.sha256()
        for weight in network.weights:
            digest.update(np.ascontiguousarray(weight.numpy()).tobytes())
        self.manifest = {
            "detector": "discriminator",
            "sha256": digest.hexdigest(),
            "dims": self.dims,
            "resize": "none",
        }

        @tf.function(reduce_retracing=True)
        def base(images):
            return network.descend(images)  # [N, h, w, C]

        self.base = base  # of images in [-1, 1]

    def features(self, images):
        """uint8 [N, H, W, C] to [N, dims]."""
        base = self.base(pipeline.to_float(tf.constant(images)))
        return tf.reduce_mean(base, axis=[1, 2]).numpy()

    def distance(self, a, b):
        """Of images [N, H, W, C] in [0, 255]: [N]."""
        both = np.concatenate([a, b]).astype(np.float32) * (2 / 255) - 1
        x, y = tf.split(self.base(tf.constant(both)), 2)
        return maps.unit_distance([x], [y]).numpy()
