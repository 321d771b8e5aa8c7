"""Sources of training images: a collection whose images are fitted to one shape."""

import concurrent.futures
import hashlib
from collections.abc import Iterator
from typing import Protocol

import numpy as np
import tqdm
from absl import logging

from tfstylegan.data import collection, finding, on_demand
from tfstylegan.data.formats import digits

PROGRESS_FROM = 1000  # images; fewer are read before a progress bar is of use


class Source(Protocol):
    """What the stream and the metrics ask of a source. N images, T label entries."""

    image_shape: tuple[int, int, int]  # H, W, C
    labels: np.ndarray  # float32 [N, T]; T = 0 where there are no labels
    label_dim: int  # T
    description: str  # for people: what, how many, which shape
    fingerprint: str  # for programs: changes when the images or their order change

    def __len__(self) -> int: ...

    def image(self, index: int) -> np.ndarray:
        """uint8 [H, W, C]."""

    def images(self, indices: np.ndarray) -> np.ndarray:
        """uint8 [len(indices), H, W, C]; may be called from several threads at once."""


class ArraySource:
    """Images held in memory. `pixels` uint8 [N, H, W, C], `labels` float32 [N, T]."""

    def __init__(
        self,
        pixels: np.ndarray,
        labels: np.ndarray,
        *,
        description: str,
        fingerprint: str,
    ):
        self.pixels = pixels
        self.labels = labels
        self.image_shape = pixels.shape[1:]
        self.label_dim = labels.shape[1]
        self.description = description
        self.fingerprint = fingerprint

    def __len__(self) -> int:
        return len(self.pixels)

    def image(self, index: int) -> np.ndarray:
        return self.pixels[index]

    def images(self, indices: np.ndarray) -> np.ndarray:
        return self.pixels[indices]  # [len(indices), H, W, C]


def open_source(
    name: str,
    *,
    height: int,
    width: int,
    channels: int,
    labels: bool = True,
    max_images: int = 0,
    skip_corrupt: bool = False,
    cache_bytes: int = 1 << 30,
) -> Source:
    """Opens the source called `name`.

    `"digits"`: the 1,797 handwritten digits that ship inside scikit-learn (8x8 grey,
    stretched to height x width with a bicubic filter), with one-hot labels [N, 10].
    Anything else is a path or KIND:PATH, see `finding`; see `images.decode` and
    `images.fit_pixels` for how any mode and size becomes uint8 [height, width,
    channels]. Every image is read once here, so that a broken one is told before
    training begins; the fitted images stay in memory where all of them fit into
    `cache_bytes` and are read again on demand otherwise.

    `max_images`: only the first ones of the order count; 0 = all. `labels` False leaves
    labels unread; otherwise they are part of the fingerprint.

    Raises ValueError for a name that means nothing, a collection without an image, and
    images that cannot be read unless `skip_corrupt`, which leaves them out and names
    each of them in the log.
    """
    shape = (height, width, channels)
    if min(height, width) < 1:
        raise ValueError(f"height and width must be at least 1, got {height}x{width}.")
    if channels < 1:
        raise ValueError(f"channels must be at least 1, got {channels!r}.")
    if max_images < 0:
        raise ValueError(f"max_images must be at least 0, got {max_images!r}.")
    if name == "digits":
        return _open_digits(shape, labels=labels, max_images=max_images)
    images_of = finding.open_collection(
        name, height=height, width=width, labels=labels, skip_corrupt=skip_corrupt
    )
    if not labels:
        images_of.labels = collection.no_labels(len(images_of))
    count = min(len(images_of), max_images or len(images_of))
    if not count:
        raise ValueError(f"data source {name!r} holds no image.")
    return _open(images_of, count, shape, skip_corrupt, cache_bytes)


def _open_digits(
    shape: tuple[int, int, int], *, labels: bool, max_images: int
) -> ArraySource:
    pixels, classes = digits.load(*shape)
    pixels = pixels[: max_images or None]
    classes = classes[: len(pixels)]
    if not labels:
        classes = collection.no_labels(len(pixels))
    return ArraySource(
        pixels,
        classes,
        description=_describe("digits", classes, shape),
        fingerprint=hashlib.sha256(pixels.tobytes()).hexdigest(),
    )


def _open(
    images_of: collection.Collection,
    count: int,
    shape: tuple[int, int, int],
    skip_corrupt: bool,
    cache_bytes: int,
) -> Source:
    """Reads the first `count` images of a collection once, keeps or forgets them."""
    kept = np.zeros([count], bool)
    corrupt = []  # (index, reason)
    cached = count * int(np.prod(shape)) <= cache_bytes
    pixels = np.empty([count, *shape], np.uint8) if cached else None
    content = hashlib.sha256()
    for i, result in enumerate(_read_all(images_of, count, shape)):
        if isinstance(result, Exception):
            corrupt.append((i, result))
            continue
        image, digest = result
        kept[i] = True
        name = images_of.names[i].encode(errors="surrogateescape")
        content.update(name + b"\0" + digest)
        if cached:
            pixels[i] = image
    _report_corrupt(images_of, corrupt, count, skip_corrupt=skip_corrupt)
    labels = images_of.labels[:count][kept]
    if labels.shape[1]:
        content.update(labels.tobytes())
    text = _describe(images_of.description, labels, shape)
    about = {"description": text, "fingerprint": content.hexdigest()}
    if cached:
        return ArraySource(pixels if kept.all() else pixels[kept], labels, **about)
    return on_demand.OnDemandSource(
        images_of, np.flatnonzero(kept), shape, labels, **about
    )


def _read_all(
    images_of: collection.Collection, count: int, shape: tuple[int, int, int]
) -> Iterator:
    """Yields (pixels, digest of what was read) or the exception, in order."""

    def read(index):
        try:
            data = images_of.read(index)
            return on_demand.fit(data, shape), _digest(data)
        except (OSError, ValueError) as error:
            return error

    few = count <= PROGRESS_FROM
    with (  # threads suffice: Pillow frees the GIL while it decodes
        concurrent.futures.ThreadPoolExecutor(on_demand.threads()) as pool,
        tqdm.tqdm(total=count, desc="reading images", disable=few) as progress,
    ):
        for first in range(0, count, PROGRESS_FROM):  # bounds what is in flight
            for result in pool.map(
                read, range(first, min(first + PROGRESS_FROM, count))
            ):
                progress.update()
                yield result


def _report_corrupt(
    images_of: collection.Collection,
    corrupt: list[tuple],
    total: int,
    *,
    skip_corrupt: bool,
) -> None:
    if not corrupt:
        return
    index, reason = corrupt[0]
    if not skip_corrupt or len(corrupt) == total:
        remedy = (
            "none is left to train on"
            if len(corrupt) == total
            else "repair or remove them, or pass --config.data.skip_corrupt=true to "
            "leave them out"
        )
        raise ValueError(
            f"{len(corrupt)} of {total} images in {images_of.root!r} cannot be read, "
            f"the first is {on_demand.where(images_of, index)} ({reason}); {remedy}."
        )
    for index, reason in corrupt:
        logging.warning(
            "skipping corrupt image %s (%s)", on_demand.where(images_of, index), reason
        )
    logging.warning(
        "skipped %d of %d images in %s", len(corrupt), total, images_of.root
    )


def _digest(data: bytes | np.ndarray) -> bytes:
    digest = hashlib.sha256()
    if isinstance(data, np.ndarray):
        digest.update(f"{data.dtype} {data.shape} ".encode())
        data = np.ascontiguousarray(data)
    digest.update(data)
    return digest.digest()


def _describe(what: str, labels: np.ndarray, shape: tuple[int, int, int]) -> str:
    size = "x".join(map(str, shape))
    text = f"{labels.shape[1] or 'no'} labels"
    return f"{what}: {len(labels)} images {size}, {text}"
