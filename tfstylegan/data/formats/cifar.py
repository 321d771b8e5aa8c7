"""CIFAR-10 and CIFAR-100, the archives "python version"."""

import io
import os
import pathlib
import pickle
import re
import tarfile
import zlib
from collections.abc import Iterator

import numpy as np

from tfstylegan.data import collection

SIDE = 32
# Training files by their name in the archive, key of the labels, number of classes.
KINDS = {
    "cifar10": (re.compile(r"data_batch_\d+"), b"labels", 10),
    "cifar100": (re.compile(r"train"), b"fine_labels", 100),
}
# All that an array of bytes needs. Any other name in a pickle could run a program.
ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}


def open_collection(kind: str, path: str | os.PathLike) -> collection.ArrayCollection:
    """The training images, uint8 [N, 32, 32, 3], with one-hot labels.

    `path`: the archive (.tar.gz), a folder with its files, or one of these files, which
    may be that of the test images. Raises ValueError for damage and missing files.
    """
    path = pathlib.Path(path)
    _, key, count = KINDS[kind]
    pixels, classes = [], []
    for name, data in sorted(_files(kind, path)):
        batch = _load(name, data)
        array, labels = batch.get(b"data"), batch.get(key)
        good = isinstance(array, np.ndarray) and array.dtype == np.uint8
        if not good or array.ndim != 2 or array.shape[1] != 3 * SIDE * SIDE:
            raise ValueError(f"{name} holds no uint8 [N, 3072] called data")
        if not isinstance(labels, list) or len(labels) != len(array):
            raise ValueError(
                f"{name} has no {key.decode()} for its {len(array)} images"
            )
        if not all(type(label) is int for label in labels):
            raise ValueError(f"{name} has {key.decode()} that are no integers")
        pixels.append(array)
        classes += labels
    if not pixels:
        raise ValueError(f"holds no training file of {kind}")
    pixels = np.concatenate(pixels).reshape(-1, 3, SIDE, SIDE)  # [N, C, H, W]
    pixels = np.ascontiguousarray(pixels.transpose(0, 2, 3, 1))  # [N, H, W, C]
    labels = collection.one_hot(classes, count)
    return collection.ArrayCollection(path, kind, pixels, labels)


class ArrayUnpickler(pickle.Unpickler):
    """Reads numbers, texts, lists, dicts and NumPy arrays; refuses all else."""

    def find_class(self, module: str, name: str):
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"{module}.{name} has no place in it")
        return super().find_class(module, name)


def _load(name: str, data: bytes) -> dict:
    try:
        batch = ArrayUnpickler(io.BytesIO(data), encoding="bytes").load()
    except MemoryError:
        raise
    except Exception as error:  # damaged pickles raise nearly every type there is
        raise ValueError(f"{name} is no readable pickle ({error})") from None
    if not isinstance(batch, dict):
        raise ValueError(f"{name} holds no dictionary")
    return batch


def _files(kind: str, path: pathlib.Path) -> Iterator[tuple[str, bytes]]:
    """(name, bytes) of the training files."""
    pattern = KINDS[kind][0]
    if path.is_dir():
        for file in path.iterdir():
            if pattern.fullmatch(file.name):
                yield str(file), collection.read_file(file)
        return
    try:
        with open(path, "rb") as stream:
            archived = tarfile.is_tarfile(stream)
        if not archived:
            yield str(path), collection.read_file(path)
            return
        with tarfile.open(path) as archive:
            for member in archive:
                name = pathlib.PurePosixPath(member.name).name
                if member.isfile() and pattern.fullmatch(name):
                    collection.check_size(member.size)
                    yield f"{path}/{name}", archive.extractfile(member).read()
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is damaged ({error})") from None
