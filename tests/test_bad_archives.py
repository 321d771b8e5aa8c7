"""Damaged zip files, small data sets and databases are named; none runs a program."""

import gzip
import io
import os
import pickle
import struct
import tarfile
import zipfile

import numpy as np
import pytest
from refusals import RNG, encoded, noise, refused, skipped

from tfstylegan.data.formats import zip_file

# Zip files.


@pytest.mark.parametrize(
    "name", ["../out.png", "a/../../out.png", "/root.png", "C:/x.png", "a\\..\\b.png"]
)
def test_a_zip_with_a_name_that_leads_out_is_refused(name, tmp_path, caplog):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a.png", encoded(noise()))
        info = zipfile.ZipInfo("placeholder")
        info.filename = name
        archive.writestr(info, encoded(noise()))
    refused(tmp_path / "x.zip", name, "leads out")
    skipped(tmp_path / "x.zip", caplog, name, left=1)


def test_a_damaged_zip_is_named(tmp_path, caplog):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", encoded(noise()))
        archive.writestr("b.png", encoded(noise()))
    data = bytearray(path.read_bytes())
    middle = data.index(b"b.png") + 60
    data[middle : middle + 20] = bytes(20)
    path.write_bytes(data)
    refused(path, path / "b.png", "1 of 2")
    skipped(path, caplog, path / "b.png", left=1)
    path.write_bytes(data[:100])
    refused(path, "no zip file or a damaged one")
    path.write_bytes(b"")
    refused(path, "no zip file or a damaged one")


def test_a_zip_bomb_is_not_unpacked(tmp_path, monkeypatch):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", encoded(noise()))
        archive.writestr("b.png", bytes(5 << 20))
    limited = zip_file.collection.check_size
    monkeypatch.setattr(
        zip_file.collection, "check_size", lambda size: limited(size, 1 << 20)
    )
    refused(path, path / "b.png", "5242880 bytes")


# The archives of small data sets.


class Attack:
    def __reduce__(self):
        return os.system, ("false",)


@pytest.mark.parametrize("attack", [Attack(), np.float64(1), {b"data": os.system}])
def test_a_pickle_runs_nothing(attack, tmp_path, monkeypatch):
    called = []
    monkeypatch.setattr(os, "system", called.append)
    data = pickle.dumps(attack if not isinstance(attack, dict) else Attack())
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as archive:
        member = tarfile.TarInfo("data_batch_1")
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    refused(f"cifar10:{tmp_path}/x.tar.gz", "data_batch_1", "no readable pickle")
    assert not called


@pytest.mark.parametrize("change", ["labels", "classes", "shape", "missing", "type"])
def test_wrong_cifar_batches_are_named(change, tmp_path):
    batch = {b"data": np.zeros([2, 3072], np.uint8), b"labels": [0, 1]}
    if change == "labels":
        batch[b"labels"] = [0]
    elif change == "classes":
        batch[b"labels"] = [0, 10]
    elif change == "type":
        batch[b"labels"] = [0, 1.5]
    elif change == "shape":
        batch[b"data"] = np.zeros([2, 3071], np.uint8)
    else:
        del batch[b"data"]
    (tmp_path / "data_batch_1").write_bytes(pickle.dumps(batch))
    needle = "10 of image 1" if change == "classes" else "data_batch_1"
    refused(f"cifar10:{tmp_path}", needle)


def test_a_cut_off_archive_is_named(tmp_path):
    path = tmp_path / "x.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo("data_batch_1")
        member.size = 100_000
        archive.addfile(member, io.BytesIO(RNG.bytes(100_000)))
    path.write_bytes(path.read_bytes()[:50_000])
    refused(f"cifar10:{path}", path, "damaged")


@pytest.mark.parametrize("opener", [open, gzip.open])
def test_wrong_idx_files_are_named(opener, tmp_path):
    path = tmp_path / "images-idx3-ubyte"
    header = bytes([0, 0, 8, 3]) + struct.pack(">3I", 2, 4, 4)
    for content, needle in [
        (header + bytes(31), "has 31"),
        (header + bytes(33), "has more"),
        (header[:9], "no idx3-ubyte file"),
        (b"text that is no idx file", "no idx3-ubyte file"),
        (header[:4] + b"\xff" * 12, "has 0"),  # would be 2^96 bytes
    ]:
        with opener(path, "wb") as file:
            file.write(content)
        refused(f"mnist:{path}", path, needle)
    with opener(path, "wb") as file:
        file.write(header + RNG.bytes(32))
    with opener(tmp_path / "labels-idx1-ubyte", "wb") as file:
        file.write(bytes([0, 0, 8, 1]) + struct.pack(">I", 3) + bytes(3))
    refused(f"mnist:{path}", path, "2 images", "3 labels")
    if opener is gzip.open:
        path.write_bytes(path.read_bytes()[:-12])
        refused(f"mnist:{path}", path, "damaged")


def test_lmdb_with_a_broken_image_names_its_key(tmp_path, caplog):
    lmdb = pytest.importorskip("lmdb")
    with lmdb.open(str(tmp_path / "set")) as database:
        with database.begin(write=True) as transaction:
            transaction.put(b"good", encoded(noise()))
            transaction.put(b"wrong", b"text")
    refused(f"lsun:{tmp_path}/set", tmp_path / "set" / "wrong", "1 of 2")
    skipped(f"lsun:{tmp_path}/set", caplog, tmp_path / "set" / "wrong", left=1)
