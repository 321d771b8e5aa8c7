"""Random access to the records of one TFRecord file, every one checked by its CRCs.

A record is its length (uint64), the masked CRC of these 8 bytes, its bytes, and their
masked CRC; all little-endian.
"""

import os
import struct
from typing import BinaryIO

import numpy as np

from tfstylegan.data import collection
from tfstylegan.data.tfrecords import crc32c

HEADER = struct.Struct("<QI")
FOOTER = struct.Struct("<I")


class TFRecordFile:
    """The records of a file. Raises ValueError where it cannot tell where they lie."""

    def __init__(self, path: str | os.PathLike):
        self.path = str(path)
        with open(path, "rb") as file:
            self._starts, self._sizes = self._index(file)  # of the bytes, int64 [N]

    def __len__(self) -> int:
        return len(self._starts)

    def read(self, index: int) -> bytes:
        """The bytes of a record; ValueError where they are damaged or cut off.

        May be called from several threads at once.
        """
        size = int(self._sizes[index])
        collection.check_size(size)
        # Opened for each record: a set may have more files than a process may open.
        with open(self.path, "rb", buffering=0) as file:
            file.seek(self._starts[index])
            record, footer = file.read(size), file.read(FOOTER.size)
        if len(record) < size or len(footer) < FOOTER.size:
            raise ValueError("the file ends within this record")
        if FOOTER.unpack(footer)[0] != crc32c.masked(record):
            raise ValueError("wrong checksum (CRC)")
        return record

    def _index(self, file: BinaryIO) -> tuple[np.ndarray, np.ndarray]:
        """Follows the lengths; a last record that is cut off counts, reading tells."""
        starts, sizes = [], []
        end = os.fstat(file.fileno()).st_size
        offset = 0
        while offset < end:
            header = os.pread(file.fileno(), HEADER.size, offset)
            cut_off = len(header) < HEADER.size
            size, crc = (0, 0) if cut_off else HEADER.unpack(header)
            if not cut_off and crc != crc32c.masked(header[:8]):
                raise ValueError(
                    f"{self.path}: the length of record {len(starts)}, at byte "
                    f"{offset}, has a wrong checksum (CRC); no record that follows can "
                    "be found"
                )
            starts.append(offset + HEADER.size)
            sizes.append(min(size, end))  # fits int64, and is as much too long
            offset += HEADER.size + size + FOOTER.size
        return np.array(starts, np.int64), np.array(sizes, np.int64)


def parse_example(record: bytes):
    """The features of a serialised tf.train.Example, a mapping by name."""
    import tensorflow as tf  # seconds that other formats do not need
    from google.protobuf import message

    try:
        return tf.train.Example.FromString(record).features.feature
    except message.DecodeError:
        raise ValueError("not a tf.train.Example") from None
