"""Multi-resolution TFRecords as StyleGAN 1 and 2 train on: `<name>-r07.tfrecords`.

One file per power of two; the finest one holds all there is to know, so the others are
not read. `<name>-rxx.labels` is a .npy file, float32 [N, T].
"""

import os
import pathlib
import re

import numpy as np

from tfstylegan.data import collection
from tfstylegan.data.tfrecords import tfrecord_file

PATTERN = re.compile(r"(.+)-r(\d\d)\.tfrecords")


class NvidiaRecords:
    """The records of one file: uint8 pixels in the order of channel, row, column."""

    def __init__(self, path: pathlib.Path, labels: np.ndarray | None):
        self.root = str(path)
        self.description = f"TFRecords {path}"
        self._file = tfrecord_file.TFRecordFile(path)
        self.names = [f"record {i}" for i in range(len(self._file))]
        self.labels = collection.no_labels(len(self)) if labels is None else labels

    def __len__(self) -> int:
        return len(self._file)

    def read(self, index: int) -> np.ndarray:
        """uint8 [H, W, C]."""
        features = tfrecord_file.parse_example(self._file.read(index))
        shape = list(features["shape"].int64_list.value)
        data = features["data"].bytes_list.value
        if len(shape) != 3 or min(shape) < 1 or len(data) != 1:
            raise ValueError('no "shape" of three numbers and "data" of one image')
        if np.prod(shape, dtype=object) != len(data[0]):
            raise ValueError(f"shape {shape} does not fit {len(data[0])} bytes")
        pixels = np.frombuffer(data[0], np.uint8).reshape(shape)  # [C, H, W]
        return np.ascontiguousarray(pixels.transpose(1, 2, 0))  # [H, W, C]


def is_dataset(path: str | os.PathLike) -> bool:
    """Whether a file is named like these records, or a folder holds such files."""
    path = pathlib.Path(path)
    named = path.is_file() and PATTERN.fullmatch(path.name)
    return bool(named) or bool(_files(path))


def open_collection(path: str | os.PathLike, *, labels: bool = True) -> NvidiaRecords:
    """Opens the finest file of a folder, or the file `path`.

    Raises ValueError for a folder with two such files, for records that cannot be
    found, and for labels that are damaged or of another number than the images.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        files = _files(path)
        finest = max(_level(file) for file in files)
        files = [file for file in files if _level(file) == finest]
        if len(files) > 1:
            names = " and ".join(file.name for file in files[:2])
            raise ValueError(f"holds {names}; name one of the files")
        path = files[0]
    file = path.with_name(PATTERN.fullmatch(path.name)[1] + "-rxx.labels")
    rows = _read_labels(file) if labels and file.exists() else None
    records = NvidiaRecords(path, rows)
    if len(records.labels) != len(records):
        raise ValueError(
            f"{file} has labels of {len(records.labels)} images, {path.name} has "
            f"{len(records)}"
        )
    return records


def _files(folder: pathlib.Path) -> list[pathlib.Path]:
    files = folder.glob("*.tfrecords")
    return sorted(file for file in files if PATTERN.fullmatch(file.name))


def _level(file: pathlib.Path) -> int:
    return int(PATTERN.fullmatch(file.name)[2])


def _read_labels(file: pathlib.Path) -> np.ndarray:
    """float32 [N, T]."""
    try:
        labels = np.load(file, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{file} is no .npy file or a damaged one ({error})") from None
    if labels.ndim != 2 or labels.dtype.kind not in "fiub":
        raise ValueError(
            f"{file} must hold numbers [N, T], got {labels.dtype} {labels.shape}"
        )
    if not np.isfinite(labels).all():
        raise ValueError(f"{file} must hold finite numbers")
    return labels.astype(np.float32)
