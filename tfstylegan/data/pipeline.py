"""The training stream (infinite, shuffled, resumable by position) and image ranges."""

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from tfstylegan import rng
from tfstylegan.data import sources


def training_stream(
    source: sources.Source,
    *,
    batch_size: int,
    seed: int,
    start_image: int = 0,
    mirror: bool = False,
) -> tf.data.Dataset:
    """Infinite dataset of {"image": uint8 [N, H, W, C], "label": float32 [N, T]}.

    Image number i of the stream is source image perm(seed, i // n)[i mod n], n the size
    of the source: every epoch shows every image once, in an order of its own. With
    `mirror`, a coin that is a function of (seed, i) flips it left to right. So the
    stream has no state but its position: started at `start_image` it equals, bit for
    bit, the rest of the stream that was started at 0, whatever the batch size.

    `batch_size` is the global batch, N. A distribution strategy splits it over its
    replicas; files are never sharded, since the position counts images of all of them.

    Raises ValueError for an empty source, a batch size below 1, a negative start.
    """
    if len(source) < 1:
        raise ValueError(f"source must hold an image, got none: {source.description}.")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size!r}.")
    if start_image < 0:
        raise ValueError(f"start_image must be at least 0, got {start_image!r}.")
    size = tf.constant(len(source), tf.int64)

    def locate(position):  # int64, images before this one
        epoch_key = rng.seed(seed, "data/order", position // size)
        index = rng.shuffled_index(position % size, size, epoch_key)
        if not mirror:
            return index, False
        flip_key = rng.seed(seed, "data/mirror", position)
        return index, rng.uniform(flip_key, []) < 0.5

    def read(indices, flips):  # NumPy int64 [N], bool [N]
        images = source.images(indices)  # [N, H, W, C]
        if mirror:
            images = np.where(
                flips[:, np.newaxis, np.newaxis, np.newaxis], images[:, :, ::-1], images
            )
        return images, source.labels[indices]

    def load(indices, flips):
        # Not tf.gather: the images stay where they are, outside graph and device.
        image, label = tf.numpy_function(
            read, [indices, flips], [tf.uint8, tf.float32], stateful=False
        )
        image.set_shape([batch_size, *source.image_shape])
        label.set_shape([batch_size, source.label_dim])
        return {"image": image, "label": label}

    start = tf.constant(start_image, tf.int64)
    stream = tf.data.Dataset.counter(start, dtype=tf.int64).map(locate)
    stream = stream.batch(batch_size, drop_remainder=True)
    stream = stream.map(load, num_parallel_calls=tf.data.AUTOTUNE)
    stream = stream.prefetch(tf.data.AUTOTUNE)
    options = tf.data.Options()
    options.deterministic = True  # in spite of the parallel map
    options.experimental_distribute.auto_shard_policy = (
        tf.data.experimental.AutoShardPolicy.OFF
    )
    return stream.with_options(options)


def real_images(
    source: sources.Source,
    count: int,
    *,
    seed: int,
    mirror: bool = False,
    batch_size: int = 256,
) -> Iterator[np.ndarray]:
    """Yields the first `count` images in the source's order, uint8 [<=batch_size, ...].

    At most len(source): no image is given twice. With `mirror` each is flipped left to
    right or not by a coin that is a function of (seed, its index).
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count!r}.")
    count = min(count, len(source))
    flips = np.zeros([count], bool)
    if mirror:
        flips = rng.uniform(rng.seed(seed, "metrics/mirror"), [len(source)]).numpy()
        flips = flips[:count] < 0.5
    for first in range(0, count, batch_size):
        indices = np.arange(first, min(first + batch_size, count))
        images = np.array(source.images(indices))  # a copy: the caller may write to it
        flipped = flips[indices]
        images[flipped] = images[flipped, :, ::-1]
        yield images


def to_float(image: tf.Tensor) -> tf.Tensor:
    """uint8 in 0..255 to float32 in [-1, 1]: x * 2 / 255 - 1."""
    return tf.cast(image, tf.float32) * (2 / 255) - 1


def to_uint8(images: tf.Tensor) -> tf.Tensor:
    """Float in [-1, 1] to uint8: floor(127.5 x + 128), clipped; undoes `to_float`."""
    images = tf.cast(images, tf.float32)  # half precision cannot tell 256 levels apart
    # The cast truncates, which is floor here: nothing is negative after the clip.
    return tf.cast(tf.clip_by_value(images * 127.5 + 128, 0, 255), tf.uint8)
