"""Mapping network z -> w (StyleGAN, section 2; labels as in StyleGAN2 or ADA)."""

import math

import keras
import tensorflow as tf

from tfstylegan import rng
from tfstylegan.layers import equalized, normalization
from tfstylegan.networks import labels as labels_lib

CONDITIONINGS = ("stylegan2", "ada", "progan")


@keras.saving.register_keras_serializable("tfstylegan")
class Mapping(keras.layers.Layer):
    """z [N, Z] and labels [N, T] -> ws [N, L, D], the same w for all L layers.

    z is normalised to unit second moment and passes `num_layers` dense layers with
    learning rate multiplier `lr_mul` and activation `act`, "lrelu" or "linear". The
    gain of lrelu stands behind it (StyleGAN2), or with `gain_in_kernel` in the kernels
    (StyleGAN). Labels (T = `label_dim` > 0) are concatenated to z. `conditioning`
    "stylegan2": embedded without bias or equalisation, normalised jointly with z;
    "ada": embedded by an equalised dense layer with bias, normalised on their own;
    "progan": as they are, normalised jointly with z. Without layers w is what the
    first layer would read, so D must be its width.
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
        act="lrelu",
        gain_in_kernel=False,
        seed=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if conditioning not in CONDITIONINGS:
            raise ValueError(
                f"conditioning must be one of {', '.join(CONDITIONINGS)}; "
                f"got {conditioning!r}"
            )
        if act not in ("lrelu", "linear"):
            raise ValueError(f"act must be 'lrelu' or 'linear'; got {act!r}")
        raw = label_dim if conditioning == "progan" else 0
        if num_layers == 0 and (label_dim != raw or w_dim != z_dim + raw):
            raise ValueError(
                "num_layers must be at least 1 with labels that are embedded, or where "
                "w_dim is not z_dim (plus label_dim for conditioning 'progan'); got 0 "
                f"with conditioning {conditioning!r}, label_dim {label_dim}, "
                f"z_dim {z_dim}, w_dim {w_dim}"
            )
        self.z_dim = z_dim
        self.w_dim = w_dim
        self.num_ws = num_ws
        self.num_layers = num_layers
        self.lr_mul = lr_mul
        self.label_dim = label_dim
        self.conditioning = conditioning
        self.act = act
        self.gain_in_kernel = gain_in_kernel
        self.seed = seed
        self.normalize = normalization.PixelNorm(
            dtype=self.dtype_policy, name="normalize"
        )
        gains = {}
        if gain_in_kernel and act == "lrelu":
            gains = {"gain": 1.0, "kernel_gain": math.sqrt(2)}
        self.dense = [
            equalized.EqualizedDense(
                w_dim,
                act=act,
                lr_mul=lr_mul,
                **gains,
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
        if self.conditioning == "progan":
            return self.label_dim
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
        if self.conditioning == "stylegan2":
            labels = tf.matmul(labels, tf.cast(self.embedding, z.dtype))
        return self.normalize(tf.concat([z, labels], axis=-1))

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
            "act": self.act,
            "gain_in_kernel": self.gain_in_kernel,
            "seed": self.seed,
        }
