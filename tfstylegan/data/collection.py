"""What a data format holds: images in a stable order, not yet fitted to any size."""

import os
import stat
from collections.abc import Sequence
from typing import Protocol

import numpy as np

MAX_FILE_BYTES = 1 << 30  # of one encoded image; a raw one of 179 megapixels is half
MAX_CLASSES = 1 << 16  # a one-hot row has one float each


class Collection(Protocol):
    """N images with T label entries each."""

    root: str  # where it lies; in messages an image is called root/name
    description: str  # for people: what it is and where
    names: Sequence[str]  # one per image, unique
    labels: np.ndarray  # float32 [N, T]; T = 0 where there are no labels

    def __len__(self) -> int: ...

    def read(self, index: int) -> bytes | np.ndarray:
        """An encoded image file, or pixels: uint8 or uint16 [H, W, C].

        May be called from several threads at once. Raises ValueError with a short
        reason, or OSError, where it cannot be read. A collection may also have a
        method `path`, of the same argument: this image is all of the file there.
        """


class ArrayCollection:
    """Images of one size, held in memory: uint8 [N, H, W, C], labels float32 [N, T]."""

    def __init__(self, path: str, kind: str, pixels: np.ndarray, labels: np.ndarray):
        self.root = str(path)
        self.description = f"{kind} {path}"
        self.names = [str(i) for i in range(len(pixels))]
        self.labels = labels
        self._pixels = pixels

    def __len__(self) -> int:
        return len(self._pixels)

    def read(self, index: int) -> np.ndarray:
        return self._pixels[index]


def no_labels(size: int) -> np.ndarray:
    """float32 [size, 0]."""
    return np.zeros([size, 0], np.float32)


def one_hot(classes: Sequence[int], count: int = 0) -> np.ndarray:
    """float32 [N, count]; without `count` the highest class counts, plus one.

    Raises ValueError for a class that is negative, `count` or more, or above what
    anybody has (MAX_CLASSES).
    """
    classes = np.asarray(classes, np.int64)
    limit = count or MAX_CLASSES
    wrong = (classes < 0) | (classes >= limit)
    if wrong.any():
        first = int(wrong.argmax())
        raise ValueError(
            f"label {classes[first]} of image {first} is out of range: must be at "
            f"least 0 and below {limit}"
        )
    count = count or int(classes.max(initial=-1)) + 1
    labels = np.zeros([len(classes), count], np.float32)  # [N, T]
    labels[np.arange(len(classes)), classes] = 1
    return labels


def read_file(path: str | os.PathLike, max_bytes: int = MAX_FILE_BYTES) -> bytes:
    """The bytes of a regular file of at most `max_bytes`; else ValueError, OSError."""
    with open(path, "rb", buffering=0, opener=_open_at_once) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("not a regular file")
        check_size(status.st_size, max_bytes)
        return file.readall()


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a pipe would be waited for for ever


def check_size(size: int, max_bytes: int = MAX_FILE_BYTES) -> None:
    """Raises ValueError where `size` bytes are no image but a mistake or an attack."""
    if size > max_bytes:
        raise ValueError(f"{size} bytes; an image may have {max_bytes} at most")
