"""The cache folder and the arrays in it."""

import pathlib

import numpy as np
import pytest

from tfstylegan import cache


@pytest.mark.parametrize(
    "environment, expected",
    [
        ({"TFSTYLEGAN_CACHE": "/a", "XDG_CACHE_HOME": "/b"}, "/a"),
        ({"XDG_CACHE_HOME": "/b"}, "/b/tfstylegan"),
        ({"HOME": "/c"}, "/c/.cache/tfstylegan"),
    ],
)
def test_cache_folder(monkeypatch, environment, expected):
    for name in ("TFSTYLEGAN_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert cache.folder() == pathlib.Path(expected)


def test_arrays_come_back(tmp_path):
    file = tmp_path / "new" / "arrays.npz"
    assert cache.load(file) is None
    stored = {"x": np.arange(6.0).reshape(2, 3), "n": np.asarray(7)}
    cache.store(file, stored)
    loaded = cache.load(file)
    assert loaded.keys() == stored.keys()
    assert all(np.array_equal(loaded[name], stored[name]) for name in stored)
    assert list(file.parent.iterdir()) == [file]
