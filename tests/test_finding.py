"""Which collection a name means, and which sub-folders are classes."""

import numpy as np
import pytest
from PIL import Image

from tfstylegan.data import finding, sources

SHAPE = {"height": 8, "width": 8, "channels": 3}


def test_a_path_with_a_colon_is_a_path_if_it_exists(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("mnist:x", "C:\\photos", "tfds:mnist"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (8, 8)).save(tmp_path / name / "a.png")
        assert len(sources.open_source(name, **SHAPE)) == 1


@pytest.mark.parametrize("kind", finding.KINDS)
def test_a_kind_that_finds_nothing_is_told_in_one_sentence(kind, tmp_path):
    if kind in ("lsun", "lmdb"):
        pytest.importorskip("lmdb")
    (tmp_path / "text.txt").write_text("no data")
    paths = [tmp_path / "missing", tmp_path, tmp_path / "text.txt"]
    for path in ["", *paths] if kind != "tfds" else [""]:
        with pytest.raises(ValueError) as error:
            sources.open_source(f"{kind}:{path}", **SHAPE)
        message = str(error.value)
        assert f"'{kind}:{path}'" in message and "--config.data.source" in message
        assert "\n" not in message


def test_an_unknown_name_lists_what_there_is():
    for name in ("missing", "nonsense:path", "no/such/file.zip"):
        with pytest.raises(ValueError) as error:
            sources.open_source(name, **SHAPE)
        message = str(error.value)
        assert repr(name) in message and "does not exist" in message
        for kind in ("digits", ".zip", "TFRecords", *finding.KINDS):
            assert kind in message


@pytest.mark.parametrize(
    "names, expected",
    [
        (["a/1.png", "b/1.png", "b/sub/1.png"], [0, 1, 1]),
        (["2/1.png", "10/1.png", "2/2.png"], [0, 1, 0]),  # numbers by their value
        (["00000/1.png", "00001/1.png"], [0, 1]),  # no shards: 1.png in both
        (["00000/1.png", "00001/2.png"], None),
        (["00000/img00000000.png", "00001/img00001000.png"], None),
        (["train/a.png", "test/b.png"], None),
        (["a/1.png", "b.png"], None),
        (["a/1.png", "a/2.png"], None),
        (["a.png", "b.png"], None),
    ],
)
def test_sub_folders_are_classes_where_they_are_no_shards(names, expected, tmp_path):
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_bytes(b"")
    found = finding.open_collection(str(tmp_path), height=1, width=1)
    rows = [names.index(name) for name in found.names]
    if expected is None:
        assert found.labels.shape == (len(names), 0)
    else:
        wanted = np.eye(max(expected) + 1)[expected][rows]
        np.testing.assert_array_equal(found.labels, wanted)
