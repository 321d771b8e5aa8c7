"""Sources of training images: the built-in digits, a folder of image files."""

import concurrent.futures
import hashlib
import os
import pathlib
from collections.abc import Iterator
from typing import Protocol

import numpy as np
import tqdm
from absl import logging
from PIL import Image

from tfstylegan.data import images

ENDINGS = (".png", ".jpg", ".jpeg")
PROGRESS_FROM = 1000  # files; fewer are read before a progress bar is of use


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


class FileSource:
    """Image files decoded whenever they are asked for; no labels."""

    def __init__(
        self,
        paths: list[pathlib.Path],
        image_shape: tuple[int, int, int],
        *,
        description: str,
        fingerprint: str,
    ):
        self.paths = paths
        self.image_shape = image_shape
        self.labels = np.zeros([len(paths), 0], np.float32)
        self.label_dim = 0
        self.description = description
        self.fingerprint = fingerprint
        self._pool = concurrent.futures.ThreadPoolExecutor(_workers())

    def __len__(self) -> int:
        return len(self.paths)

    def image(self, index: int) -> np.ndarray:
        path = self.paths[index]
        try:
            return _decode(path.read_bytes(), self.image_shape)
        except (OSError, ValueError) as error:
            raise ValueError(
                f"{path} could be read when training began and cannot be now: {error}"
            ) from error

    def images(self, indices: np.ndarray) -> np.ndarray:
        return np.stack(list(self._pool.map(self.image, indices)))


def open_source(
    name: str,
    *,
    height: int,
    width: int,
    channels: int,
    skip_corrupt: bool = False,
    cache_bytes: int = 1 << 30,
) -> Source:
    """Opens the source called `name`.

    `"digits"`: the 1,797 handwritten digits that ship inside scikit-learn (8x8 grey,
    stretched to height x width with a bicubic filter), with one-hot labels [N, 10].
    Anything else is a folder (`"./digits"` too): its PNG and JPEG files, sub-folders
    included and hidden names left out, in the order of their names, without labels;
    see `images.decode` for how any mode and size becomes uint8 [height, width,
    channels]. Every file is decoded once here, so that a broken one is told before
    training begins; the decoded images stay in memory where all of them fit into
    `cache_bytes` and are decoded again on demand otherwise.

    Raises ValueError for a folder that is missing or holds no image, and for files
    that cannot be decoded unless `skip_corrupt`, which leaves them out and names each
    of them in the log.
    """
    images.check_channels(channels)
    if height < 1 or width < 1:
        raise ValueError(f"height and width must be at least 1, got {height}x{width}.")
    shape = (height, width, channels)
    if name == "digits":
        return _open_digits(shape)
    return _open_folder(name, shape, skip_corrupt=skip_corrupt, cache_bytes=cache_bytes)


def _open_digits(shape: tuple[int, int, int]) -> ArraySource:
    from sklearn import datasets  # a second's import that a folder does not need

    height, width, channels = shape
    digits = datasets.load_digits()
    pixels = np.empty([len(digits.images), *shape], np.uint8)  # [N, H, W, C]
    for i, ink in enumerate(digits.images):  # float64 [8, 8] in 0..16
        image = Image.fromarray(np.float32(ink * (255 / 16)))
        image = image.resize((width, height), Image.Resampling.BICUBIC)
        pixels[i] = np.clip(np.rint(image), 0, 255)[..., np.newaxis]  # grey, tiled to C
    return ArraySource(
        pixels,
        np.eye(10, dtype=np.float32)[digits.target],
        description=f"digits: {len(pixels)} images {_shape_text(shape)}, 10 labels",
        fingerprint=hashlib.sha256(pixels.tobytes()).hexdigest(),
    )


def _open_folder(
    name: str, shape: tuple[int, int, int], *, skip_corrupt: bool, cache_bytes: int
) -> Source:
    folder = pathlib.Path(name).expanduser()
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise ValueError(
            f'data source {name!r} {what}; expected "digits" or a folder of PNG/JPEG '
            "images (--config.data.source)."
        )
    paths = sorted(_image_files(folder), key=lambda path: _relative(path, folder))
    if not paths:
        raise ValueError(
            f"data source {name!r} holds no image: expected files that end in "
            f"{', '.join(ENDINGS)}, in the folder or below it (--config.data.source)."
        )
    kept = np.zeros([len(paths)], bool)
    corrupt = []  # (path, reason)
    cached = len(paths) * int(np.prod(shape)) <= cache_bytes
    pixels = np.empty([len(paths), *shape], np.uint8) if cached else None
    content = hashlib.sha256()
    for i, (path, result) in enumerate(_decode_all(paths, shape)):
        if isinstance(result, Exception):
            corrupt.append((path, result))
            continue
        image, digest = result
        kept[i] = True
        content.update(_relative(path, folder).encode(errors="surrogateescape") + b"\0")
        content.update(digest)
        if cached:
            pixels[i] = image
    _report_corrupt(name, corrupt, len(paths), skip_corrupt=skip_corrupt)
    text = f"folder {name}: {kept.sum()} images {_shape_text(shape)}, no labels"
    about = {"description": text, "fingerprint": content.hexdigest()}
    if not cached:
        readable = [path for path, keep in zip(paths, kept, strict=True) if keep]
        return FileSource(readable, shape, **about)
    pixels = pixels if kept.all() else pixels[kept]
    return ArraySource(pixels, np.zeros([len(pixels), 0], np.float32), **about)


def _image_files(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """Image files in and below `folder`; linked folders are followed, once each."""

    def refuse(error):
        raise ValueError(f"cannot list folder {error.filename}: {error.strerror}.")

    seen = set()
    for parent, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        if os.path.realpath(parent) in seen:
            folders.clear()  # a link that leads back
            continue
        seen.add(os.path.realpath(parent))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            if name.lower().endswith(ENDINGS) and not name.startswith("."):
                yield pathlib.Path(parent, name)


def _decode_all(paths: list[pathlib.Path], shape: tuple[int, int, int]) -> Iterator:
    """Yields (path, (pixels, SHA-256 of the file) or the exception), in order."""

    def read(path):
        try:
            data = path.read_bytes()
            return _decode(data, shape), hashlib.sha256(data).digest()
        except (OSError, ValueError) as error:
            return error

    few = len(paths) <= PROGRESS_FROM
    with (  # threads suffice: Pillow frees the GIL while it decodes
        concurrent.futures.ThreadPoolExecutor(_workers()) as pool,
        tqdm.tqdm(total=len(paths), desc="reading images", disable=few) as progress,
    ):
        for first in range(0, len(paths), PROGRESS_FROM):  # bounds what is in flight
            chunk = paths[first : first + PROGRESS_FROM]
            for path, result in zip(chunk, pool.map(read, chunk), strict=True):
                progress.update()
                yield path, result


def _report_corrupt(
    name: str, corrupt: list[tuple], total: int, *, skip_corrupt: bool
) -> None:
    if not corrupt:
        return
    path, reason = corrupt[0]
    if not skip_corrupt or len(corrupt) == total:
        remedy = (
            "none is left to train on"
            if len(corrupt) == total
            else "repair or remove them, or pass --config.data.skip_corrupt=true to "
            "leave them out"
        )
        raise ValueError(
            f"{len(corrupt)} of {total} images in {name!r} cannot be read, the first "
            f"is {path} ({reason}); {remedy}."
        )
    for path, reason in corrupt:
        logging.warning("skipping corrupt image %s (%s)", path, reason)
    logging.warning("skipped %d of %d images in %s", len(corrupt), total, name)


def _decode(data: bytes, shape: tuple[int, int, int]) -> np.ndarray:
    height, width, channels = shape
    return images.decode(data, height=height, width=width, channels=channels)


def _relative(path: pathlib.Path, folder: pathlib.Path) -> str:
    return path.relative_to(folder).as_posix()


def _shape_text(shape: tuple[int, int, int]) -> str:
    return "x".join(map(str, shape))


def _workers() -> int:
    return min(32, os.cpu_count() or 1)
