"""MNIST and its relatives: idx files, plain or gzipped."""

import gzip
import math
import os
import pathlib
import struct
import zlib

import numpy as np

from tfstylegan.data import collection

STEM = "train-images-idx3-ubyte"
UBYTE = 8  # the only element type these files have
CHUNK = 1 << 24


def open_collection(path: str | os.PathLike) -> collection.ArrayCollection:
    """Images uint8 [N, H, W, 1], with labels where the file of them lies beside.

    `path`: an images file, or a folder that holds the training images under their usual
    name. Its labels are in a file of the same name with labels-idx1 for images-idx3.
    Raises ValueError for a file that is none of these or does not have its length.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        path = _find(path, STEM)
    images = read_idx(path, 3)  # [N, H, W]
    labels = collection.no_labels(len(images))
    name = path.name.replace("images-idx3", "labels-idx1")
    name = name.replace("images.idx3", "labels.idx1")
    beside = [path.with_name(name), path.with_name(name.removesuffix(".gz"))]
    for file in beside:
        if file != path and file.exists():
            labels = collection.one_hot(read_idx(file, 1))
            break
    if len(labels) != len(images):
        raise ValueError(
            f"{path} has {len(images)} images, {file} {len(labels)} labels"
        )
    return collection.ArrayCollection(path, "mnist", images[..., np.newaxis], labels)


def read_idx(path: pathlib.Path, dimensions: int) -> np.ndarray:
    """uint8 array with so many dimensions: magic number, shape, bytes."""
    try:
        with open(path, "rb") as stream:
            zipped = stream.read(2) == b"\x1f\x8b"
        with gzip.open(path) if zipped else open(path, "rb") as stream:
            header = stream.read(4 + 4 * dimensions)
            whole = len(header) == 4 + 4 * dimensions
            if not whole or header[:4] != bytes([0, 0, UBYTE, dimensions]):
                raise ValueError(f"{path} is no idx{dimensions}-ubyte file")
            shape = struct.unpack(f">{dimensions}I", header[4:])
            size = math.prod(shape)
            data = _read(stream, size + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} is damaged ({error})") from None
    if len(data) != size:
        relation = "more" if len(data) > size else f"{len(data)}"
        raise ValueError(f"{path} must hold {size} bytes for {shape}, has {relation}")
    return np.frombuffer(data, np.uint8).reshape(shape)


def _read(stream, size: int) -> bytearray:
    """At most `size` bytes; what a damaged header claims is not allocated at once."""
    data = bytearray()
    while len(data) < size and (chunk := stream.read(min(CHUNK, size - len(data)))):
        data += chunk
    return data


def _find(folder: pathlib.Path, stem: str) -> pathlib.Path:
    for name in (stem, stem + ".gz", stem.replace("-idx", ".idx")):
        if (folder / name).exists():
            return folder / name
    raise ValueError(f"holds no {stem} or {stem}.gz")
