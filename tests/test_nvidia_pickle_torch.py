"""Tensors, storages and modules of torch checkpoints, in both file formats."""

import io

import numpy as np
import pickle_pieces as p
import pytest

from tfstylegan.interop import nvidia_pickle

KINDS = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "<i1",
    "ByteStorage": "<u1",
    "BoolStorage": "?",
}


def read(data):
    return nvidia_pickle.read(io.BytesIO(data))


def assert_equal(found, expected):
    np.testing.assert_array_equal(found, expected, strict=True)


def tensor_of(payload, **view):
    weights = {"weight": p.parameter(payload=payload, **view)}
    record = read(p.torch(p.module(_parameters=weights))).networks["G"]
    return record.variables["weight"]


def payloads(kind, data, size):
    identity = p.storage_id(size, kind=kind)
    return p.stream(identity, data, size=size), p.archive(identity, data)


@pytest.mark.parametrize("kind", KINDS)
def test_nvidia_pickle_storage_types(kind):
    expected = np.array([[0, 1], [2, 3]]).astype(KINDS[kind])
    for payload in payloads(kind, expected.tobytes(), 4):
        assert_equal(tensor_of(payload), expected)


def test_nvidia_pickle_bfloat16_is_widened():
    expected = np.array([[1, -2.5], [np.inf, 2**-130]], np.float32)
    data = (expected.view(np.uint32) >> 16).astype("<u2").tobytes()
    for payload in payloads("BFloat16Storage", data, 4):
        assert_equal(tensor_of(payload), expected)


@pytest.mark.parametrize(
    ("offset", "size", "stride", "expected"),
    [
        (0, (2, 3), (3, 1), [[0, 1, 2], [3, 4, 5]]),
        (0, (3, 2), (1, 3), [[0, 3], [1, 4], [2, 5]]),
        (1, (2, 2), (3, 1), [[1, 2], [4, 5]]),
        (5, (), (), 5),
        (2, (1, 3), (999, 1), [[2, 3, 4]]),
        (6, (0, 2), (2, 1), np.zeros([0, 2])),
        (0, (1, 2, 1, 3), (6, 1, 6, 2), [[[[0, 2, 4]], [[1, 3, 5]]]]),  # channels last
    ],
)
def test_nvidia_pickle_tensors_are_views(offset, size, stride, expected):
    numbers = np.arange(6, dtype=np.float32)
    for payload in payloads("FloatStorage", numbers.tobytes(), 6):
        found = tensor_of(payload, offset=offset, size=size, stride=stride)
        assert_equal(found, np.asarray(expected, np.float32))


def test_nvidia_pickle_modules():
    leaf = p.module(
        _parameters={"weight": p.tensor(), "bias": None},
        _buffers={"filter": p.tensor(size=(4,), stride=(1,))},
        in_channels=3,
        gain=p.call(p.NUMPY, "scalar", p.dtype("f8"), bytes(8)),
        sizes=(1, 2),
        _hidden=1,
        nested=[[1]],
        odd=p.named("numpy", "ndarray"),
    )
    top = p.module(
        _modules={"b": leaf, "none": None, "a": leaf},
        _buffers={"w_avg": p.tensor()},
        _init_args=(512, 0),
        _init_kwargs={"w_dim": 4},
    )
    record = read(p.file({"D": top, "augment_pipe": leaf, "x": 1})).networks["D"]
    names = ["w_avg", "b.weight", "b.filter", "a.weight", "a.filter"]
    assert list(record.variables) == names
    assert record.arguments == {0: 512, 1: 0, "w_dim": 4}
    below = {"in_channels": 3, "gain": 0.0, "sizes": (1, 2)}
    expected = {f"{top}.{name}": below[name] for top in "ba" for name in below}
    assert record.attributes == expected
