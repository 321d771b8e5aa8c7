"""The training stream (infinite, shuffled, resumable by position) and image ranges."""

import atexit
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

from tfstylegan import rng
from tfstylegan.data import sources
from tfstylegan.ops import resample

# Arrays up to this size become tensors that the dataset holds. Beyond it the copies
# that this costs (three, measured with a distributed dataset) weigh more than a visit
# to Python for each batch.
TENSOR_BYTES = 64 << 20
BLOCK = 1024  # coins drawn at once
READS_AT_ONCE = 2  # batches; a source of files decodes the images of one in parallel


def training_stream(
    source: sources.Source,
    *,
    batch_size: int,
    seed: int,
    start_image: int = 0,
    mirror: bool = False,
    rows: np.ndarray | None = None,
) -> tf.data.Dataset:
    """Infinite dataset of {"image": uint8 [N, H, W, C], "label": float32 [N, T]}.

    Image number i of the stream is source image perm(seed, i // n)[i mod n], n the size
    of the source: every epoch shows every image once, in an order of its own. With
    `mirror`, a coin that is a function of (seed, i) flips it left to right. So the
    stream has no state but its position: started at `start_image` it equals, bit for
    bit, the rest of the stream that was started at 0, whatever the batch size.

    `batch_size` is the global batch, N. A distribution strategy splits it over its
    replicas; files are never sharded, since the position counts images of all of them.
    `rows` names the images of each batch that are wanted, in this order: a worker reads
    its own only.

    Raises ValueError for an empty source, a batch size below 1, a negative start.
    """
    if len(source) < 1:
        raise ValueError(f"source must hold an image, got none: {source.description}.")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size!r}.")
    if start_image < 0:
        raise ValueError(f"start_image must be at least 0, got {start_image!r}.")
    rows = np.arange(batch_size) if rows is None else np.asarray(rows)
    in_order = len(rows) == batch_size and np.all(rows == np.arange(batch_size))
    gather = _gather(source, len(rows))

    def wanted(x):
        return x if in_order else tf.gather(x, rows)

    def load(first):  # int64, images before this batch
        positions = first + tf.range(batch_size, dtype=tf.int64)  # [N]
        image, label = gather(wanted(order(positions, len(source), seed)))
        if mirror:
            flips = wanted(coins(positions, seed))
            flips = flips[:, tf.newaxis, tf.newaxis, tf.newaxis]
            image = tf.where(flips, image[:, :, ::-1], image)
        return {"image": image, "label": label}  # [N, H, W, C], [N, T]

    start, step = (tf.constant(n, tf.int64) for n in (start_image, batch_size))
    stream = tf.data.Dataset.counter(start, step, dtype=tf.int64)
    stream = stream.map(load, num_parallel_calls=READS_AT_ONCE)
    stream = stream.prefetch(READS_AT_ONCE)
    options = tf.data.Options()
    options.deterministic = True  # in spite of the parallel map
    options.experimental_distribute.auto_shard_policy = (
        tf.data.experimental.AutoShardPolicy.OFF
    )
    return stream.with_options(options)


def order(positions: tf.Tensor, size: int, seed: int) -> tf.Tensor:
    """Source indices of the stream's images at consecutive positions: int64 [N]."""
    epochs, places = positions // size, positions % size
    indices = tf.zeros_like(places)
    for epoch in tf.range(epochs[0], epochs[-1] + 1):  # mostly one
        key = rng.seed(seed, "data/order", epoch)
        of_epoch = rng.shuffled_index(places, tf.constant(size, tf.int64), key)
        indices = tf.where(epochs == epoch, of_epoch, indices)
    return indices


def coins(positions: tf.Tensor, seed: int) -> tf.Tensor:
    """Whether the images at consecutive positions are flipped: bool [N].

    Drawn in blocks, since drawing one number costs about as much as a thousand.
    """
    size = positions.shape[0]
    blocks = [positions[0] // BLOCK + i for i in range(-(-size // BLOCK) + 1)]
    keys = [rng.seed(seed, "data/mirror", block) for block in blocks]
    drawn = tf.concat([rng.uniform(key, [BLOCK]) for key in keys], axis=0)
    first = tf.cast(positions[0] % BLOCK, tf.int32)
    return drawn[first : first + size] < 0.5


def _gather(source: sources.Source, batch_size: int) -> Callable:
    """Function of indices int64 [N] to (uint8 [N, H, W, C], float32 [N, T])."""
    if isinstance(source, sources.ArraySource) and source.pixels.nbytes <= TENSOR_BYTES:
        with tf.device("CPU:0"):
            pixels = tf.constant(source.pixels)
            labels = tf.constant(source.labels)
        return lambda indices: (tf.gather(pixels, indices), tf.gather(labels, indices))

    def read(indices):
        images = _READS.run(lambda: source.images(indices))
        if images is None:
            images = np.zeros([len(indices), *source.image_shape], np.uint8)
        return images, source.labels[indices]

    def gather(indices):
        image, label = tf.numpy_function(
            read, [indices], [tf.uint8, tf.float32], stateful=False
        )
        image.set_shape([batch_size, *source.image_shape])
        label.set_shape([batch_size, source.label_dim])
        return image, label

    return gather


class _Reads:
    """Runs what TensorFlow's threads do in Python, and ends it before Python ends.

    A read that is under way when the interpreter goes down waits for a lock that it
    never gets, the iterator's destructor waits for the read, and the process hangs
    (seen). So the exit handler makes reads empty, and waits for those that run and
    until the stream's buffers are full and no more come: both are of fixed size.
    """

    def __init__(self):
        self._lock = threading.Lock()
        self._begun = self._running = 0
        self._closing = False
        self.failed = None  # the last exception
        atexit.register(self._close)

    def run(self, read: Callable) -> np.ndarray | None:
        """read(), or None once the interpreter is on its way out."""
        with self._lock:
            self._begun += 1
            self._running += 1
        try:
            return None if self._closing else read()
        except Exception as error:
            self.failed = error
            raise
        finally:
            with self._lock:
                self._running -= 1

    def _close(self) -> None:
        self._closing = True
        seen = None
        while self._running or seen != self._begun:
            seen = self._begun
            time.sleep(0.05)  # a thousand times what an empty read takes


_READS = _Reads()


def next_of(batches: Iterator):
    """The next batch of a stream; OSError with the reason where it cannot be had.

    TensorFlow's own errors have a traceback in their message.
    """
    try:
        return next(batches)
    except tf.errors.OpError as error:
        raise OSError(str(_READS.failed or error)) from error


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


def at_lod(images: tf.Tensor, whole: int, fading: tf.Tensor | None) -> tf.Tensor:
    """Images [N, H, W, C] as while a network grows, in their full size.

    Each is the mean over boxes of 2^whole pixels; `fading` (a scalar in [0, 1]) leads
    from that to the mean over boxes of twice the side (ProGAN, figure 2).
    """
    fine = resample.downsample_box(images, 2**whole)  # [N, H / 2^whole, ...]
    if fading is not None:
        coarse = resample.upsample_nearest(resample.downsample_box(fine))
        fine += (coarse - fine) * tf.cast(fading, fine.dtype)
    return resample.upsample_nearest(fine, 2**whole)


def to_uint8(images: tf.Tensor) -> tf.Tensor:
    """Float in [-1, 1] to uint8: floor(127.5 x + 128), clipped; undoes `to_float`."""
    images = tf.cast(images, tf.float32)  # half precision cannot tell 256 levels apart
    # The cast truncates, which is floor here: nothing is negative after the clip.
    return tf.cast(tf.clip_by_value(images * 127.5 + 128, 0, 255), tf.uint8)
