"""Projection of labels on the features of a discriminator (StyleGAN2-ADA)."""

import keras
import numpy as np
import tensorflow as tf

from tfstylegan import rng
from tfstylegan.layers import equalized, normalization


@keras.saving.register_keras_serializable("tfstylegan")
class LabelProjection(keras.layers.Layer):
    """Features [N, C] and labels [N, T] -> logits [N, 1], as ADA does it.

    The label is embedded, normalised, passed through `num_layers` dense layers, and
    its dot product with the projected features is divided by sqrt(C).
    """

    def __init__(self, *, num_layers=8, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.num_layers = num_layers
        self.seed = seed

    def build(self, x_shape, labels_shape):
        width = x_shape[-1]
        self.normalize = normalization.PixelNorm(
            dtype=self.dtype_policy, name="normalize"
        )
        self.embed = self._dense("embed", width)
        self.embed.build(labels_shape)
        self.dense = [
            self._dense(f"dense{i}", width, act="lrelu", lr_mul=0.01)
            for i in range(self.num_layers)
        ]
        self.output_layer = self._dense("output", width)
        for layer in (*self.dense, self.output_layer):
            layer.build((None, width))

    def _dense(self, name, width, **kwargs):
        seed = rng.child(self.seed, name)
        return equalized.EqualizedDense(
            width, seed=seed, dtype=self.dtype_policy, name=name, **kwargs
        )

    def call(self, x, labels):
        y = self.normalize(self.embed(labels))  # [N, C]
        for layer in self.dense:
            y = layer(y)
        logits = tf.reduce_sum(self.output_layer(x) * y, axis=-1, keepdims=True)
        return logits / np.sqrt(x.shape[-1])  # [N, 1]

    def compute_output_shape(self, x_shape, labels_shape):
        return x_shape[0], 1

    def get_config(self):
        return {
            **super().get_config(),
            "num_layers": self.num_layers,
            "seed": self.seed,
        }
