"""Broken images and labels: one clear error that names the file, or a named skip."""

import json
import os
import struct
import time
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image
from refusals import RNG, SHAPE, encoded, noise, refused, skipped

from tfstylegan.data import collection, images, sources


def bomb(side=50_000):
    """A PNG whose header promises so many pixels a side."""

    def chunk(kind, data):
        checked = kind + data
        return (
            struct.pack(">I", len(data))
            + checked
            + struct.pack(">I", zlib.crc32(checked))
        )

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1 << 20))
    signature = b"\x89PNG\r\n\x1a\n"
    parts = chunk(b"IHDR", header), chunk(b"IDAT", pixels), chunk(b"IEND", b"")
    return signature + b"".join(parts)


BROKEN = {
    "truncated.jpg": (encoded(noise(64, 64), "JPEG")[:1500], "truncated"),
    "empty.png": (b"", "not a PNG/JPEG"),
    "text.png": (b"I am a text.\n" * 100, "not a PNG/JPEG"),
    "bomb.png": (bomb(), "2500000000 pixels"),
    "name with spaces ünd ñ 猫.png": (b"\x89PNG\r\n\x1a\nno", "PNG"),
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("packed", [False, True])
def test_a_broken_image_is_named_or_skipped(name, packed, tmp_path, caplog):
    data, reason = BROKEN[name]
    files = {"a.png": encoded(noise()), name: data, "z.png": encoded(noise())}
    root = tmp_path / "set.zip" if packed else tmp_path
    if packed:
        with zipfile.ZipFile(root, "w") as archive:
            for file, content in files.items():
                archive.writestr(file, content)
    else:
        for file, content in files.items():
            (root / file).write_bytes(content)
    begin = time.perf_counter()
    refused(root, root / name, "1 of 3", reason, "skip_corrupt")
    assert time.perf_counter() - begin < 1  # the bomb is not unpacked
    source = skipped(root, caplog, root / name, left=2)
    np.testing.assert_array_equal(
        source.image(1), images.decode(files["z.png"], **SHAPE)
    )


def test_images_of_unusual_kinds_are_read(tmp_path):
    deep = RNG.randint(0, 65536, [8, 8]).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "a 16 bits.png")
    red = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    red.save(tmp_path / "b CMYK.jpg", quality=95)
    frames = [Image.new("RGB", (8, 8), c) for c in ("lime", "blue", "black")]
    frames[0].save(tmp_path / "c animated.gif", save_all=True, append_images=frames[1:])
    exif = Image.Exif()
    exif[images.ORIENTATION_TAG] = 3
    photo = noise()
    Image.fromarray(photo).save(tmp_path / "d upside down ü.png", exif=exif)
    source = sources.open_source(str(tmp_path), **SHAPE)
    expected = np.rint(deep / 257)[..., np.newaxis]
    np.testing.assert_array_equal(source.image(0), np.tile(expected, [1, 1, 3]))
    assert abs(source.image(1).astype(int) - [255, 0, 0]).max() <= 4
    assert (source.image(2) == [0, 255, 0]).all()
    np.testing.assert_array_equal(source.image(3), photo[::-1, ::-1])


def test_a_pipe_a_link_to_itself_and_a_huge_file_are_named(tmp_path):
    (tmp_path / "a.png").write_bytes(encoded(noise()))
    os.mkfifo(tmp_path / "b.png")
    refused(tmp_path, tmp_path / "b.png", "not a regular file")
    os.remove(tmp_path / "b.png")
    (tmp_path / "b.png").symlink_to("b.png")  # a loop
    refused(tmp_path, tmp_path / "b.png", "1 of 2")
    os.remove(tmp_path / "b.png")
    with open(tmp_path / "c.png", "wb") as file:
        file.truncate(collection.MAX_FILE_BYTES + 1)  # sparse
    refused(tmp_path, tmp_path / "c.png", "at most")


# Labels.

GOOD = [["a.png", 0], ["b.png", 1], ["c.png", 2]]


@pytest.mark.parametrize(
    "labels, needles",
    [
        ([*GOOD, ["gone.png", 1]], ["gone.png has a label and no file"]),
        (GOOD[:2], ["c.png has no label"]),
        ([*GOOD[:2], ["c.png", -1]], ["c.png", "-1"]),
        ([*GOOD[:2], ["c.png", 1 << 40]], ["c.png", str(1 << 40)]),
        ([*GOOD[:2], ["c.png", 1.5]], ["c.png", "1.5"]),
        ([*GOOD[:2], ["c.png", True]], ["c.png", "True"]),
        ([*GOOD[:2], ["c.png", "cat"]], ["c.png", "'cat'"]),
        ([*GOOD[:2], ["c.png", None]], ["c.png", "None"]),
        ([*GOOD[:2], ["c.png", [1.0]]], ["c.png", "[1.0]", "all integers or all"]),
        ([*GOOD[:2], ["c.png", []]], ["c.png", "[]"]),
        ([["a.png", [1, 2]], ["b.png", [1]], ["c.png", [1, 2]]], ["b.png", "[1]"]),
        ([["a.png", [float("nan")]], *GOOD[1:]], ["a.png", "finite"]),
        ([*GOOD, ["a.png", 2]], ["a.png", "two labels"]),
        ([*GOOD, "d.png"], ["d.png", "[name, label]"]),
        ({"a.png": 0}, ["must be a list"]),
    ],
)
def test_wrong_labels_are_named_and_nothing_else_is(labels, needles, tmp_path):
    for name in "abc":
        (tmp_path / f"{name}.png").write_bytes(encoded(noise()))
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": labels}))
    refused(tmp_path, "dataset.json", *needles)
    source = sources.open_source(str(tmp_path), **SHAPE, labels=False)
    assert len(source) == 3 and source.label_dim == 0  # nobody asked for them


@pytest.mark.parametrize("text", ["", "{", "[]", "\xff", '{"labels": 3}'])
def test_a_damaged_dataset_json_is_refused(text, tmp_path):
    (tmp_path / "a.png").write_bytes(encoded(noise()))
    (tmp_path / "dataset.json").write_text(text, "latin1")
    refused(tmp_path, "dataset.json")


def test_images_without_label_and_labels_without_image_are_skipped(tmp_path, caplog):
    for name in "abc":
        (tmp_path / f"{name}.png").write_bytes(encoded(noise()))
    labels = json.dumps({"labels": [*GOOD[:2], ["gone.png", 2]]})
    (tmp_path / "dataset.json").write_text(labels)
    source = skipped(tmp_path, caplog, "c.png", "gone.png", left=2)
    np.testing.assert_array_equal(source.labels, np.eye(2))


@pytest.mark.parametrize("text", ["{}", '{"labels": null}', '{"labels": []}'])
def test_a_dataset_json_may_have_no_labels(text, tmp_path):
    (tmp_path / "a.png").write_bytes(encoded(noise()))
    (tmp_path / "dataset.json").write_text(text)
    assert sources.open_source(str(tmp_path), **SHAPE).label_dim == 0
