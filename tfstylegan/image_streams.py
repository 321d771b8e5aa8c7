"""Endless streams of generated images, from networks or from a SavedModel.

The same seed gives the same images, whoever asks for how many.
"""

import copy
import pathlib

import numpy as np
import tensorflow as tf

from tfstylegan import rng, sampling, spreading
from tfstylegan.data import pipeline
from tfstylegan.networks import generator as generator_lib
from tfstylegan.serving import saving


class _Draws:
    """Batches of random latents and labels, and the images of them in a stream.

    Subclasses have `z_dim`, `labels`, `batch_size`, `devices` (a `spreading.Devices`)
    and `_render(z, labels, key)`.
    """

    def stream(self, seed):
        """generate(n) -> uint8 [n, H, W, C]; the same images for the same seed."""
        left, number = [], 0

        def render(number):
            return self._render(*self.codes(seed, number))

        def generate(count):
            nonlocal left, number
            missing = max(0, count - sum(map(len, left)))
            numbers = range(number, number + -(-missing // self.batch_size))
            left.extend(self.devices.map(render, numbers))
            number += len(numbers)
            images = np.concatenate(left)
            left = [images[count:]]
            return images[:count]

        return generate

    def codes(self, seed, number):
        """z [N, Z], labels [N, T] or None and a key for noise: batch `number`."""
        key = rng.seed(seed, "images/noise", number)
        z = self._latents(seed, "images", number, self.batch_size)
        return z, self.condition(seed, number, self.batch_size), key

    def _latents(self, seed, stream, number, count):
        key = rng.seed(seed, stream, number)
        return rng.normal(key, [count, self.z_dim]).numpy()

    def condition(self, seed, number, count):
        """Labels [N, T] drawn from those of the data, for batch `number`; or None."""
        if self.labels is None:
            return None
        key = rng.seed(seed, "images/label", number)
        rows = rng.uniform(key, [count], maxval=len(self.labels), dtype=tf.int32)
        return self.labels[rows.numpy()]


class ImageSource(_Draws):
    """New images of a generator and paths between them; traced once.

    Args:
      generator: a `Generator`.
      labels: [M, T], of which those of the images are drawn; None for an unconditional
        network.
      truncation_psi, truncation_cutoff, noise_mode: as of the generator's call.
      devices: a `spreading.Devices`, where batches are made side by side; each batch is
        the same on any of them.
    """

    def __init__(
        self,
        generator,
        labels=None,
        *,
        truncation_psi=1.0,
        truncation_cutoff=None,
        noise_mode="random",
        devices=None,
    ):
        self.generator = generator
        self.devices = devices or spreading.Devices()
        self.labels = labels
        self.z_dim = generator.mapping.z_dim
        self.batch_size = sampling.batch_size(generator)
        self.manifest = {
            "truncation_psi": truncation_psi,
            "truncation_cutoff": truncation_cutoff,
            "noise_mode": noise_mode,
        }
        truncation = truncation_psi, truncation_cutoff

        @tf.function
        def batch(z, condition, key):
            images = generator(z, condition, seed=key, **self.manifest)
            finite = tf.reduce_all(tf.math.is_finite(images))
            return pipeline.to_uint8(images), finite  # where nan would be a level

        @tf.function(reduce_retracing=True)
        def mapping(z, condition):
            ws = generator.mapping(z, condition)
            if truncation_psi == 1:
                return ws  # not even rounded: paths compare points 1e-4 apart
            return generator_lib.truncate(ws, generator.w_avg, *truncation)

        @tf.function(reduce_retracing=True)
        def synthesis(ws, key):
            if noise_mode != "random":
                return generator.synthesis(ws, noise_mode=noise_mode)
            noise = generator.synthesis.draw_noise(1, key)  # [1, h, w, 1] each
            return generator.synthesis(ws, noise=noise)

        self._batch, self._mapping, self._synthesis = batch, mapping, synthesis

    def paths(self, seed, number, count):
        """z0, z1 [N, Z], t [N] in [0, 1), labels of both ends, a key for noise."""
        z0, z1 = (
            self._latents(seed, f"paths/{end}", number, count) for end in ("z0", "z1")
        )
        t = rng.uniform(rng.seed(seed, "paths/t", number), [count]).numpy()
        labels = self.condition(seed, number, count)
        if labels is not None:
            labels = np.concatenate([labels, labels])
        return z0, z1, t, labels, rng.seed(seed, "paths/noise", number)

    def mapping(self, z, labels=None):
        """z [N, Z] to ws [N, L, W], truncated."""
        labels = None if labels is None else tf.constant(labels)
        return self._mapping(tf.constant(z, tf.float32), labels).numpy()

    def synthesis(self, ws, key):
        """ws [N, L, W] to images [N, H, W, C], unclipped; one noise for all of them."""
        return self._synthesis(tf.constant(ws), key).numpy()

    def _render(self, z, labels, key):
        labels = None if labels is None else tf.constant(labels)
        images, finite = self._batch(tf.constant(z), labels, key)
        if not finite:
            raise ValueError("the generator's images must be finite, got NaN in some")
        return images.numpy()


class ServedSource(_Draws):
    """New images of a SavedModel of ours; noise and truncated layers are its own.

    Args:
      path: the version's folder.
      labels: [M, T], of which those of the images are drawn, where it takes labels.
      truncation_psi: as of its signature.
      devices: as of `ImageSource`.

    Raises ValueError for another SavedModel than ours or a damaged one.
    """

    def __init__(self, path, labels=None, *, truncation_psi=1.0, devices=None):
        self.devices = devices or spreading.Devices()
        try:
            self._model = tf.saved_model.load(str(path))
        except (OSError, ValueError, tf.errors.OpError) as error:
            message = f"the SavedModel {path} cannot be read: {error}"
            raise ValueError(message) from error
        self._call = self._model.signatures.get("serving_default")
        inputs = self._call.structured_input_signature[1] if self._call else {}
        if not {"z", "truncation_psi"} <= inputs.keys():
            raise ValueError(f"the SavedModel {path} is no generator of ours")
        self._defaults = saving.default_inputs(path, "serving_default")
        self.z_dim = inputs["z"].shape[-1]
        self.label_dim = inputs["labels"].shape[-1] if "labels" in inputs else 0
        self.image_shape = tuple(self._call.structured_outputs["images"].shape[1:])
        self.labels = labels
        self.batch_size = sampling.MAX_BATCH
        self.manifest = {
            "truncation_psi": truncation_psi,
            "truncation_cutoff": "as exported",
            "noise_mode": "const",
        }

    def truncated(self, psi):
        """The same with another psi."""
        other = copy.copy(self)
        other.manifest = self.manifest | {"truncation_psi": psi}
        return other

    def _render(self, z, labels, key):
        del key
        inputs = {**self._defaults, "z": tf.constant(z)}
        if labels is not None:
            inputs["labels"] = tf.constant(labels)
        psi = self.manifest["truncation_psi"]
        inputs["truncation_psi"] = tf.constant(psi, tf.float32)
        return self._call(**inputs)["images"].numpy()


def is_saved_model(path):
    """Whether `path` is one version of an exported model."""
    return (pathlib.Path(path) / "saved_model.pb").is_file()
