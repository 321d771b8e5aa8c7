"""Checkpoints on disk: atomic, sealed, and told apart from damaged ones."""

import json
import os
import resource
import shutil
import signal

import numpy as np
import pytest
import tensorflow as tf
from absl import logging

from tfstylegan import checkpoints


class Box:
    """A checkpoint of one vector."""

    def __init__(self, folder, size=1000):
        self.folder = folder
        self.values = tf.Variable(tf.zeros([size]))
        self.checkpoint = tf.train.Checkpoint(values=self.values)

    def write(self, number, keep=3):
        self.values.assign(tf.fill(self.values.shape, float(number)))
        checkpoints.write(self.checkpoint, self.folder, number, keep=keep)

    def read(self, number):
        path = checkpoints.path_of(self.folder, number)
        self.checkpoint.read(path).assert_consumed()
        return float(self.values[0])


@pytest.fixture
def box(tmp_path):
    return Box(tmp_path / "checkpoints")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_newest_stay_and_are_read(box):
    assert checkpoints.numbers(box.folder) == []
    assert checkpoints.newest_sound(box.folder) is None
    for number in (8, 16, 24, 100):
        box.write(number)
    assert checkpoints.numbers(box.folder) == [16, 24, 100]
    assert checkpoints.newest_sound(box.folder) == 100
    assert box.read(16) == 16 and box.read(100) == 100
    endings = ("data-00000-of-00001", "index", "json")
    expected = [f"ckpt-{n}.{end}" for n in (100, 16, 24) for end in endings]
    assert names(box.folder) == sorted([*expected, "checkpoint"])
    newest = tf.train.latest_checkpoint(str(box.folder))
    assert newest == checkpoints.path_of(box.folder, 100)


def test_writing_again_replaces(box):
    box.write(8)
    box.values.assign(tf.ones_like(box.values))
    checkpoints.write(box.checkpoint, box.folder, 8, keep=1)
    assert checkpoints.newest_sound(box.folder) == 8
    assert box.read(8) == 1


def truncate(path):
    path.write_bytes(path.read_bytes()[:-7])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def newest_and_told(box, caplog):
    """The newest sound checkpoint; what is logged is in `caplog.text`."""
    with caplog.at_level("WARNING"):
        logging.get_absl_logger().propagate = True
        return checkpoints.newest_sound(box.folder)


@pytest.mark.parametrize("ending", ["index", "data-00000-of-00001"])
@pytest.mark.parametrize(
    "damage, word", [(truncate, "bytes"), (flip, "contents"), (os.unlink, "No such")]
)
def test_damage_is_named_and_an_older_one_serves(box, caplog, ending, damage, word):
    box.write(8)
    box.write(16)
    file = box.folder / f"ckpt-16.{ending}"
    damage(file)
    assert newest_and_told(box, caplog) == 8
    assert str(file) in caplog.text and word in caplog.text
    assert "ckpt-16.json" in caplog.text  # the damage might be there
    assert box.read(8) == 8
    box.write(12, keep=1)  # not in favour of the one that is damaged
    assert checkpoints.numbers(box.folder) == [12]
    assert checkpoints.newest_sound(box.folder) == 12


@pytest.mark.parametrize("text", ["", "{", "[]", '{"files": {"a": 1}}', "\x80"])
def test_unreadable_manifest_is_damage(box, text):
    box.write(8)
    manifest = box.folder / "ckpt-8.json"
    manifest.write_bytes(text.encode("latin-1"))
    assert str(manifest) in checkpoints.damage_of(box.folder, 8)
    with pytest.raises(ValueError, match="every checkpoint in .* is damaged"):
        checkpoints.newest_sound(box.folder)


def test_every_bit_of_a_manifest_counts(box):
    box.write(8)
    manifest = box.folder / "ckpt-8.json"
    whole = manifest.read_bytes()
    for place in range(len(whole)):
        for bit in range(8):
            flipped = bytearray(whole)
            flipped[place] ^= 1 << bit
            manifest.write_bytes(flipped)
            assert "ckpt-8.json" in (checkpoints.damage_of(box.folder, 8) or "")


def test_a_manifest_that_is_gone_is_named(box, caplog):
    for number in (8, 16, 24):
        box.write(number)
    for number in (8, 24):
        (box.folder / f"ckpt-{number}.json").unlink()
    assert newest_and_told(box, caplog) == 16
    assert str(box.folder / "ckpt-24.json") in caplog.text
    assert "ckpt-8.json" not in caplog.text  # an old one that was being deleted
    box.write(20)
    assert {name.split(".")[0] for name in names(box.folder)} == {
        *("checkpoint", "ckpt-16", "ckpt-20")
    }


def test_writing_that_was_cut_off_does_not_count(box):
    box.write(8)
    for file in box.folder.glob("ckpt-8.*"):
        if not file.name.endswith(".json"):
            shutil.copy(file, str(file).replace("ckpt-8", "ckpt-16"))
            shutil.copy(file, str(file).replace("ckpt-8", "partial-ckpt-16"))
    (box.folder / "partial-ckpt-16_temp").mkdir()
    assert checkpoints.numbers(box.folder) == [8]
    box.write(24)
    assert not list(box.folder.glob("partial-*"))
    assert checkpoints.numbers(box.folder) == [8, 24]


def test_a_full_disk_loses_nothing(tmp_path):
    box = Box(tmp_path, size=100_000)
    box.write(8)
    before = names(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(OSError, match="ckpt-16 was not written"):
            box.write(16)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert names(tmp_path) == before
    assert checkpoints.newest_sound(tmp_path) == 8
    box.write(16)
    assert box.read(16) == 16


@pytest.mark.parametrize("step", range(6))
def test_a_kill_between_any_two_changes_of_the_folder(box, monkeypatch, step):
    """Renames and deletions, each of them the last that still happens."""
    box.write(8)
    box.write(16)
    left = [step]

    def dying(original):
        def change(path, *args, **kwargs):
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            return original(path, *args, **kwargs)

        return change

    for name in ("replace", "unlink"):
        original = getattr(checkpoints.pathlib.Path, name)
        monkeypatch.setattr(checkpoints.pathlib.Path, name, dying(original))
    with pytest.raises(KeyboardInterrupt):
        box.write(24, keep=2)
    monkeypatch.undo()
    newest = checkpoints.newest_sound(box.folder)
    assert newest in (16, 24)
    assert box.read(newest) == newest
    box.write(24, keep=2)
    assert checkpoints.numbers(box.folder) == [16, 24]
    assert np.all(box.read(24) == 24)


def test_manifest_lists_every_file(box):
    box.write(8)
    manifest = json.loads((box.folder / "ckpt-8.json").read_text())
    assert manifest["cur_nimg"] == 8
    files = {n for n in names(box.folder) if n.startswith("ckpt") and "json" not in n}
    assert set(manifest["files"]) == files
