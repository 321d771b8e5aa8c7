"""Parts of the StyleGAN2 discriminators (StyleGAN2, section 4).

`DiscriminatorTrunk` holds what the orig, skip and resnet networks share. Level i has
the base grid doubled i times; the image enters at the highest level.
"""

import keras
import numpy as np
import tensorflow as tf

from tfstylegan import fmaps, rng
from tfstylegan.layers import equalized, minibatch_stddev, normalization
from tfstylegan.networks import labels as labels_lib


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


class DiscriminatorTrunk(keras.Model):
    """images [N, H, W, channels] (and labels [N, T]) -> logits [N, 1].

    Subclasses say how the image reaches the base grid (`descend`); the last line of
    their constructors builds, since Keras saves weights of built networks only. With
    labels (T = `label_dim` > 0), `conditioning` "stylegan2" has one logit a class, of
    which the label selects; "ada" projects (see `LabelProjection`).
    """

    last_gain = None  # of the second convolution of a level

    def __init__(
        self,
        *,
        base_grid=(4, 4),
        doublings=6,
        channels=3,
        label_dim=0,
        conditioning="stylegan2",
        mapping_layers=8,
        fmap_base=16384,
        fmap_min=1,
        fmap_max=512,
        resample_kernel=(1, 3, 3, 1),
        mbstd_group_size=4,
        mbstd_num_features=1,
        seed=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if doublings < 1:
            raise ValueError(f"doublings must be at least 1; got {doublings}")
        if conditioning not in ("stylegan2", "ada"):
            raise ValueError(
                f"conditioning must be 'stylegan2' or 'ada'; got {conditioning!r}"
            )
        self.base_grid = tuple(base_grid)
        self.doublings = doublings
        self.channels = channels
        self.label_dim = label_dim
        self.conditioning = conditioning
        self.mapping_layers = mapping_layers
        self.fmap_base = fmap_base
        self.fmap_min = fmap_min
        self.fmap_max = fmap_max
        self.resample_kernel = tuple(resample_kernel)
        self.mbstd_group_size = mbstd_group_size
        self.mbstd_num_features = mbstd_num_features
        self.seed = seed
        levels = range(doublings + 1)
        height, width = self.base_grid
        self.sizes = [(height << i, width << i) for i in levels]
        self.widths = [
            fmaps.at_level(i, fmap_base=fmap_base, fmap_min=fmap_min, fmap_max=fmap_max)
            for i in levels
        ]
        self.convs = [self.conv_layer(i, i, "conv") for i in levels[1:]]
        self.down_convs = [
            self.conv_layer(
                i, i - 1, "conv_down", resampling="down", gain=self.last_gain
            )
            for i in levels[1:]
        ]
        self._make_head()

    def conv_layer(self, level, to_level, role, size=3, act="lrelu", **kwargs):
        """A new convolution at `level` with as many filters as `to_level` has."""
        height, width = self.sizes[level]
        name = f"{height}x{width}_{role}"
        return equalized.EqualizedConv2D(
            self.widths[to_level],
            size,
            act=act,
            resample_kernel=self.resample_kernel,
            seed=rng.child(self.seed, name),
            dtype=self.dtype_policy,
            name=name,
            **kwargs,
        )

    def from_rgb_layer(self, level):
        """A new from_rgb layer for a level; subclasses keep those they need."""
        return self.conv_layer(level, level, "from_rgb", size=1)

    def _make_head(self):
        self.stddev = None
        if self.mbstd_group_size:
            self.stddev = minibatch_stddev.MinibatchStddev(
                self.mbstd_group_size,
                self.mbstd_num_features,
                dtype=self.dtype_policy,
                name="stddev",
            )
        self.last_conv = self.conv_layer(0, 0, "conv")
        self.dense = equalized.EqualizedDense(
            self.widths[0],
            act="lrelu",
            seed=rng.child(self.seed, "dense"),
            dtype=self.dtype_policy,
            name="dense",
        )
        if self.label_dim and self.conditioning == "ada":
            self.output_layer = LabelProjection(
                num_layers=self.mapping_layers,
                seed=rng.child(self.seed, "output"),
                dtype=self.dtype_policy,
                name="output",
            )
        else:
            self.output_layer = equalized.EqualizedDense(
                max(self.label_dim, 1),
                seed=rng.child(self.seed, "output"),
                dtype=self.dtype_policy,
                name="output",
            )

    def shape(self, level):
        """Shape of the features that enter a level's convolutions."""
        return (None, *self.sizes[level], self.widths[level])

    def image_shape(self, level):
        """Shape of the image at the size of a level."""
        return (None, *self.sizes[level], self.channels)

    def build(self, input_shape=None):
        for i, (conv, down) in enumerate(
            zip(self.convs, self.down_convs, strict=True), start=1
        ):
            conv.build(self.shape(i))
            down.build(self.shape(i))
        shape = self.shape(0)
        if self.stddev is not None:
            self.stddev.build(shape)
            shape = self.stddev.compute_output_shape(shape)
        self.last_conv.build(shape)
        height, width = self.sizes[0]
        self.dense.build((None, height * width * self.widths[0]))
        if isinstance(self.output_layer, LabelProjection):
            self.output_layer.build((None, self.widths[0]), (None, self.label_dim))
        else:
            self.output_layer.build((None, self.widths[0]))

    def call(self, images, labels=None):
        labels_lib.check(labels, self.label_dim)
        x = self.descend(images)  # [N, h, w, C] of the base grid
        if self.stddev is not None:
            x = self.stddev(x)
        x = self.last_conv(x)
        # Published checkpoints flatten in the order C, H, W.
        x = tf.transpose(x, [0, 3, 1, 2])  # [N, C, h, w]
        x = tf.reshape(x, [-1, np.prod(x.shape[1:])])  # [N, C h w]
        x = self.dense(x)  # [N, C]
        if not self.label_dim:
            return self.output_layer(x)  # [N, 1]
        labels = tf.cast(labels, x.dtype)
        if self.conditioning == "ada":
            return self.output_layer(x, labels)
        return tf.reduce_sum(self.output_layer(x) * labels, axis=1, keepdims=True)

    def compute_output_shape(self, images_shape, labels_shape=None):
        return images_shape[0], 1

    def get_config(self):
        return {
            **super().get_config(),
            "base_grid": self.base_grid,
            "doublings": self.doublings,
            "channels": self.channels,
            "label_dim": self.label_dim,
            "conditioning": self.conditioning,
            "mapping_layers": self.mapping_layers,
            "fmap_base": self.fmap_base,
            "fmap_min": self.fmap_min,
            "fmap_max": self.fmap_max,
            "resample_kernel": self.resample_kernel,
            "mbstd_group_size": self.mbstd_group_size,
            "mbstd_num_features": self.mbstd_num_features,
            "seed": self.seed,
        }
