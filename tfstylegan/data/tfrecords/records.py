"""Our dataset: a folder of TFRecord shards that hold encoded images, and a manifest.

    manifest.json                    what it is, how it was made, every shard's SHA-256
    NAME-00000-of-00004.tfrecords    records: tf.train.Example {image, name, label}
    NAME-00000-of-00004.json         where each record begins, its name and label

Any TFRecord reader reads the shards: `image` is a PNG or lossless WebP file, `name` the
name in the source, `label` one int64 (a class), T floats, or absent.
"""

import hashlib
import json
import pathlib
from collections.abc import Sequence

import numpy as np

from tfstylegan.data import collection
from tfstylegan.data.tfrecords import crc32c, example, tfrecord_file

MANIFEST = "manifest.json"
FORMAT = "tfstylegan dataset"
VERSION = 1


class RecordCollection:
    """Images of such a folder, each read when it is asked for; thread-safe.

    `names` and `labels` (float32 [N, T]; a class is one-hot) are those of the index
    files. `manifest` is the parsed manifest; its "sha256" changes with any image, name,
    label or their order.
    """

    def __init__(self, path: pathlib.Path):
        self.root = str(path)
        self.description = f"dataset {path}"
        self.manifest = read_manifest(path)
        shards = [read_index(path, shard) for shard in self.manifest["shards"]]
        self.names: Sequence[str] = [
            name for index in shards for name in index["names"]
        ]
        self.labels = _labels(shards, self.manifest["labels"])
        counts = [len(index["names"]) for index in shards]
        self._shard = np.repeat(np.arange(len(shards)), counts)  # [N]
        self._first = np.cumsum([0, *counts])
        self._offset = np.array(
            [offset for index in shards for offset in index["offsets"]], np.int64
        )

    def __len__(self) -> int:
        return len(self.names)

    def read(self, index: int) -> bytes:
        """Bytes of a PNG or WebP file; ValueError that names shard and record."""
        shard = self._shard[index]
        path = pathlib.Path(self.root, self.manifest["shards"][shard]["name"])
        try:
            data = read_record(path, int(self._offset[index]))
            return example.decode(data).image
        except (ValueError, OSError) as error:
            reason = getattr(error, "strerror", None) or error
            record = index - self._first[shard]
            raise ValueError(f"shard {path.name}, record {record}: {reason}") from error


def is_dataset(path: str | pathlib.Path) -> bool:
    """Whether a folder holds a manifest, be it whole or damaged, and shards."""
    path = pathlib.Path(path)
    return (path / MANIFEST).is_file() and any(path.glob("*-of-*.tfrecords"))


def open_collection(path: str | pathlib.Path) -> RecordCollection:
    """Opens the dataset in a folder.

    Raises ValueError where the manifest is damaged, and where a shard is missing, has
    another length or does not go with its index file. The shards' hashes are left to
    `verify`; each record's own checksum is verified whenever it is read.
    """
    return RecordCollection(pathlib.Path(path))


def read_manifest(path: pathlib.Path) -> dict:
    """The manifest of a dataset; ValueError that says what is wrong with it."""
    file = path / MANIFEST
    try:
        manifest = json.loads(file.read_text())
        if manifest["format"] != FORMAT:
            raise KeyError("format")
        if manifest["version"] > VERSION:
            raise ValueError(
                f"has version {manifest['version']}, this program reads {VERSION}"
            )
        for key in ("size", "channels", "labels", "shards", "sha256"):
            manifest[key]
    except KeyError as error:
        raise ValueError(f"{file} is no manifest of a dataset: no {error}") from None
    except (ValueError, TypeError) as error:
        raise ValueError(f"{file} is damaged: {error}") from None
    return manifest


def read_record(path: pathlib.Path, offset: int) -> bytes:
    """Bytes of the record that begins at `offset`, by both of its checksums.

    Opens the file for each record: a set may have more shards than a process may have
    open files. Raises ValueError with a short reason for a damaged record, OSError.
    """
    head, tail = tfrecord_file.HEADER, tfrecord_file.FOOTER
    with open(path, "rb", buffering=0) as file:
        file.seek(offset)
        begin = file.read(head.size)
        size, checksum = head.unpack(begin.ljust(head.size, b"\0"))
        if checksum != crc32c.masked(begin[:8]):
            raise ValueError("wrong checksum (CRC) of its length")
        collection.check_size(size)
        data, end = file.read(size), file.read(tail.size)
    if len(data) < size or len(end) < tail.size:
        raise ValueError("the file ends within it")
    if tail.unpack(end)[0] != crc32c.masked(data):
        raise ValueError("wrong checksum (CRC)")
    return data


def verify(path: pathlib.Path) -> None:
    """Reads every byte; ValueError that names the first shard that has changed."""
    for shard in read_manifest(path)["shards"]:
        read_index(path, shard)
        if file_sha256(path / shard["name"]) != shard["sha256"]:
            raise ValueError(f"{path / shard['name']} has changed: other SHA-256")


def index_name(shard_name: str) -> str:
    """Name of the index file of a shard."""
    return str(pathlib.PurePath(shard_name).with_suffix(".json"))


def file_sha256(path: pathlib.Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_index(path, shard):
    """{"names", "offsets", "labels"} of a shard that is there in its full length."""
    file = path / shard["name"]
    try:
        length = file.stat().st_size
        data = (path / index_name(shard["name"])).read_bytes()
    except OSError as error:
        raise ValueError(
            f"a part of the dataset is missing: {error.filename}"
        ) from error
    if length != shard["bytes"]:
        raise ValueError(f"{file} must have {shard['bytes']} bytes; it has {length}")
    if hashlib.sha256(data).hexdigest() != shard["index_sha256"]:
        raise ValueError(f"{file} and its index file are not of the same dataset")
    return json.loads(data)


def _labels(shards, about):
    """float32 [N, T]."""
    rows = [label for index in shards for label in index["labels"]]
    if about["kind"] == "class":
        labels = np.zeros([len(rows), about["width"]], np.float32)
        labels[np.arange(len(rows)), rows] = 1
        return labels
    if about["kind"] == "vector":
        return np.array(rows, np.float32).reshape(len(rows), about["width"])
    return collection.no_labels(len(rows))
