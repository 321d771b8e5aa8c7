"""Latents, generated batches, style mixing and image grids."""

import io
import os
import pathlib

import numpy as np
import PIL.Image
import tensorflow as tf

from tfstylegan import rng
from tfstylegan.data import pipeline
from tfstylegan.networks import generator as generator_lib

MAX_BATCH = 32  # images a forward pass
BATCH_PIXELS = 1 << 21  # of a forward pass: two images of 1024x1024


def batch_size(generator):
    """Images a forward pass, so that memory stays bounded at any resolution."""
    height, width = generator.synthesis.sizes[-1]
    return max(1, min(MAX_BATCH, BATCH_PIXELS // (height * width)))


def latents(seeds, z_dim):
    """z of numbered seeds, float32 [N, Z]; seed s is the field's RandomState(s)."""
    rows = [rng.seed_latent(seed, z_dim) for seed in seeds]
    return np.stack(rows) if rows else np.zeros([0, z_dim], np.float32)


def cycle_labels(count, label_dim):
    """One-hot labels 0, 1, ..., T - 1, 0, ...: float32 [N, T]; None without labels."""
    if not label_dim:
        return None
    return np.eye(label_dim, dtype=np.float32)[np.arange(count) % label_dim]


def render(generator, z, labels=None, **options):
    """Images of many latents in batches: float32 [N, H, W, C], unclipped.

    `options` are those of the generator's call; `seed` (int32 [2]) is folded with the
    batch number.
    """
    seed = options.pop("seed", None)
    images = []
    size = batch_size(generator)
    for i, start in enumerate(range(0, len(z), size)):
        rows = slice(start, start + size)
        if seed is not None:
            options["seed"] = tf.random.fold_in(seed, i)
        batch = generator(
            tf.constant(z[rows]),
            None if labels is None else tf.constant(labels[rows]),
            **options,
        )
        images.append(batch.numpy())
    return np.concatenate(images)


def style_mixing(generator, row_z, col_z, *, layers, row_labels=None, **options):
    """Grid of images with rows' styles, but columns' styles in the given layers.

    Args:
      generator: a `Generator`.
      row_z: [R, Z].
      col_z: [K, Z].
      layers: range of w layers that come from the columns.
      row_labels: [R, T]; the columns use the same labels.

    Returns: float32 [(R + 1) (K + 1), H, W, C]; the first row and column show the
    sources, the corner is black.
    """
    psi = options.pop("truncation_psi", 1.0)
    row_ws = generator.mapping(row_z, row_labels)  # [R, L, D]
    col_labels = None if row_labels is None else row_labels[: len(col_z)]
    col_ws = generator.mapping(col_z, col_labels)  # [K, L, D]
    row_ws, col_ws = (
        generator_lib.truncate(ws, generator.w_avg, psi) for ws in (row_ws, col_ws)
    )
    pictures = [np.zeros_like(_synthesize(generator, col_ws[:1], options)) - 1]
    pictures.append(_synthesize(generator, col_ws, options))
    for ws in row_ws:
        mixed = take_layers(ws[tf.newaxis], col_ws, layers)  # [K, L, D]
        both = tf.concat([ws[tf.newaxis], mixed], axis=0)
        pictures.append(_synthesize(generator, both, options))
    return np.concatenate(pictures)


def take_layers(ws, other_ws, layers):
    """ws with the given layers of `other_ws`; both broadcast to [..., L, D]."""
    taken = np.isin(np.arange(ws.shape[-2]), list(layers))[:, np.newaxis]  # [L, 1]
    return tf.where(taken, other_ws, ws)


def _synthesize(generator, ws, options):
    return generator.synthesis(ws, **options).numpy()


def grid(images, columns):
    """One picture of many: [N, H, W, C] -> [rows H, columns W, C], zeros at the end."""
    count, height, width, channels = images.shape
    rows = -(-count // columns)
    canvas = np.zeros([rows * columns, height, width, channels], images.dtype)
    canvas[:count] = images
    canvas = canvas.reshape(rows, columns, height, width, channels)
    canvas = canvas.transpose(0, 2, 1, 3, 4)
    return canvas.reshape(rows * height, columns * width, channels)


def to_uint8(images):
    """Images about [-1, 1] as uint8, rounded as the published tools do."""
    return pipeline.to_uint8(tf.convert_to_tensor(images)).numpy()


def png(image, compress_level=6):
    """PNG file of a uint8 image [H, W, C]: of its first 3 or 1, where C is no 1, 3, 4.

    compress_level: 0 (large) to 9 (slow).
    """
    if image.shape[-1] not in (1, 3, 4):
        image = image[..., :3] if image.shape[-1] > 4 else image[..., :1]
    picture = PIL.Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", compress_level=compress_level)
    return buffer.getvalue()


def write_png(path, image):
    """Writes `png` of one image, whole or not at all."""
    write_atomically(path, png(image))


def write_atomically(path, content):
    """Writes bytes to a file that never looks complete before it is."""
    path = pathlib.Path(path)
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_bytes(content)
        os.replace(partial, path)
    except OSError:
        partial.unlink(missing_ok=True)  # it would fill a full disk for good
        raise
