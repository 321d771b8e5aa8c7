"""Mapping network z -> w (StyleGAN, section 2; labels as in StyleGAN2 or ADA)."""

import keras
import tensorflow as tf

from tfstylegan import rng
from tfstylegan.layers import equalized, normalization
from tfstylegan.networks import labels as labels_lib


@keras.saving.register_keras_serializable("tfstylegan")
class Mapping(keras.layers.Layer):
    """z [N, Z] and labels [N, T] -> ws [N, L, D], the same w for all L layers.

    z is normalised to unit second moment and passes `num_layers` dense layers with
    leaky ReLU and learning rate multiplier `lr_mul`. Labels (T = `label_dim` > 0) are
    embedded and concatenated to z. `conditioning` "stylegan2": embedding without bias
    or equalisation, normalised jointly with z; "ada": equalised dense layer with
    bias, normalised on its own.
    """

    def __init__(
        self,
        *,
        z_dim=512,
        w_dim=512,
        num_ws,
        num_layers=8,
        lr_mul=0.01,
        label_dim=0,
        conditioning="stylegan2",
        seed=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if conditioning not in ("stylegan2", "ada"):
            raise ValueError(
                f"conditioning must be 'stylegan2' or 'ada'; got {conditioning!r}"
            )
        if num_layers == 0 and (label_dim or z_dim != w_dim):
            raise ValueError(
                "num_layers must be at least 1 with labels or where w_dim is not "
                f"z_dim; got 0 with label_dim {label_dim}, z_dim {z_dim}, w_dim {w_dim}"
            )
        self.z_dim = z_dim
        self.w_dim = w_dim
        self.num_ws = num_ws
        self.num_layers = num_layers
        self.lr_mul = lr_mul
        self.label_dim = label_dim
        self.conditioning = conditioning
        self.seed = seed
        self.normalize = normalization.PixelNorm(
            dtype=self.dtype_policy, name="normalize"
        )
        self.dense = [
            equalized.EqualizedDense(
                w_dim,
                act="lrelu",
                lr_mul=lr_mul,
                seed=rng.child(seed, f"dense{i}"),
                dtype=self.dtype_policy,
                name=f"dense{i}",
            )
            for i in range(num_layers)
        ]
        self.embed = None
        if label_dim and conditioning == "ada":
            self.embed = equalized.EqualizedDense(
                w_dim,
                seed=rng.child(seed, "embed"),
                dtype=self.dtype_policy,
                name="embed",
            )

    def build(self, input_shape=None):
        width = self.z_dim
        if self.label_dim:
            width += self._build_embedding()
        for layer in self.dense:
            layer.build((None, width))
            width = self.w_dim

    def _build_embedding(self):
        if self.embed is not None:
            self.embed.build((None, self.label_dim))
            return self.w_dim
        self.embedding = self.add_weight(
            name="embedding",
            shape=(self.label_dim, self.z_dim),
            initializer=rng.normal_initializer(self.seed, "embedding"),
        )
        return self.z_dim

    def call(self, z, labels=None):
        x = self._with_labels(z, labels)  # [N, Z or Z + E]
        for layer in self.dense:
            x = layer(x)  # [N, D]
        return tf.tile(x[:, tf.newaxis], [1, self.num_ws, 1])  # [N, L, D]

    def _with_labels(self, z, labels):
        labels_lib.check(labels, self.label_dim)
        if not self.label_dim:
            return self.normalize(z)
        labels = tf.cast(labels, z.dtype)
        if self.embed is not None:
            parts = [self.normalize(z), self.normalize(self.embed(labels))]
            return tf.concat(parts, axis=-1)
        embedding = tf.cast(self.embedding, z.dtype)
        return self.normalize(tf.concat([z, tf.matmul(labels, embedding)], axis=-1))

    def compute_output_shape(self, z_shape, labels_shape=None):
        return z_shape[0], self.num_ws, self.w_dim

    def get_config(self):
        return {
            **super().get_config(),
            "z_dim": self.z_dim,
            "w_dim": self.w_dim,
            "num_ws": self.num_ws,
            "num_layers": self.num_layers,
            "lr_mul": self.lr_mul,
            "label_dim": self.label_dim,
            "conditioning": self.conditioning,
            "seed": self.seed,
        }
