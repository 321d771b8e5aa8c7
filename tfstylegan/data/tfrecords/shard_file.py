"""One shard of a dataset while it is written: whole and verified, or absent."""

import hashlib
import json
import os
import pathlib

import numpy as np

from tfstylegan.data.tfrecords import crc32c, example, records, tfrecord_file

PARTIAL = ".unfinished"  # how the names of files end that are being written


class ShardFile:
    """Context that writes records and, with `finish`, gives the file its name."""

    def __init__(self, path: pathlib.Path):
        self.path = path
        self.skipped = []  # [name, reason] of images that are left out
        self._index = {"names": [], "offsets": [], "labels": []}
        self._bytes = 0
        self._hash = hashlib.sha256()

    def __enter__(self) -> "ShardFile":
        self._partial = self.path.with_name(self.path.name + PARTIAL)
        self._file = open(self._partial, "wb")
        return self

    def __exit__(self, *error) -> None:
        try:
            self._file.close()
        finally:
            self._partial.unlink(missing_ok=True)

    def add(self, record: example.Example) -> None:
        """Appends a record."""
        label = record.label
        self._index["names"].append(record.name)
        self._index["offsets"].append(self._bytes)
        self._index["labels"].append(
            label.tolist() if isinstance(label, np.ndarray) else label
        )
        data = _frame(example.encode(record))
        self._file.write(data)
        self._hash.update(data)
        self._bytes += len(data)

    def skip(self, name: str, reason: str) -> None:
        """Notes an image that is left out."""
        self.skipped.append([name, reason])

    def finish(self) -> None:
        """Gives the file its name, and then writes its index file."""
        self._file.flush()
        os.fsync(self._file.fileno())
        os.replace(self._partial, self.path)
        content = {
            "bytes": self._bytes,
            "sha256": self._hash.hexdigest(),
            "skipped": self.skipped,
            **self._index,
        }
        index = self.path.with_name(records.index_name(self.path.name))
        write_whole(index, json.dumps(content))


def _frame(data):
    """The record of a TFRecord file that holds `data`, see `tfrecord_file`."""
    size = len(data).to_bytes(8, "little")
    header = tfrecord_file.HEADER.pack(len(data), crc32c.masked(size))
    return header + data + tfrecord_file.FOOTER.pack(crc32c.masked(data))


def about(path: pathlib.Path) -> dict:
    """Content of the index file of a shard."""
    return json.loads(path.with_name(records.index_name(path.name)).read_text())


def is_finished(path: pathlib.Path) -> bool:
    """Whether a shard and its index file are whole; reads all of it."""
    try:
        return records.file_sha256(path) == about(path)["sha256"]
    except (FileNotFoundError, ValueError, KeyError):
        return False


def write_whole(path: pathlib.Path, text: str) -> None:
    """Writes a file that has its name only when it is whole, on the disk."""
    partial = path.with_name(path.name + PARTIAL)
    with open(partial, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
