"""TFRecord files: TensorFlow's are read, at random, and their checksums verified."""

import numpy as np
import pytest
import tensorflow as tf

from tfstylegan.data.tfrecords import crc32c, tfrecord_file

RNG = np.random.RandomState(0)
# Around every lane length and the lengths at which another one is chosen.
SIZES = [
    *range(80),
    *(255, 256, 257, 16383, 16384, 16385, 262143, 262144, 262145, 1_000_003),
]


def bitwise(data):
    """The definition: polynomial division, one bit after another."""
    register = 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (0x82F63B78 if register & 1 else 0)
    return register ^ 0xFFFFFFFF


@pytest.mark.parametrize(
    "data, crc",  # RFC 3720, B.4, and the check value of the catalogues
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
    ],
)
def test_crc_has_the_published_values(data, crc):
    assert crc32c.crc32c(data) == crc == bitwise(data)


@pytest.mark.parametrize("size", [63, 64, 65, 1000, 16384, 16400])
def test_crc_of_long_messages_is_polynomial_division(size):
    data = RNG.bytes(size)
    assert crc32c.crc32c(data) == bitwise(data)


@pytest.fixture
def written(tmp_path):
    records = [RNG.bytes(size) for size in SIZES]
    with tf.io.TFRecordWriter(str(tmp_path / "x")) as writer:
        for record in records:
            writer.write(record)
    return tmp_path / "x", records


def test_records_of_every_size_are_read_in_any_order(written):
    path, records = written
    file = tfrecord_file.TFRecordFile(path)
    assert len(file) == len(records)
    for i in RNG.permutation(len(records)):
        assert file.read(i) == records[i]


def test_any_flipped_bit_is_found(written):
    path, records = written
    intact = path.read_bytes()
    begin = len(intact) - len(records[-1]) - 4  # of the largest record's bytes
    for place in [begin, *RNG.randint(begin, len(intact), 20), len(intact) - 1]:
        data = bytearray(intact)
        data[place] ^= 1 << RNG.randint(8)
        path.write_bytes(data)
        file = tfrecord_file.TFRecordFile(path)
        assert file.read(len(records) - 2) == records[-2]
        with pytest.raises(ValueError, match="CRC"):
            file.read(len(records) - 1)
