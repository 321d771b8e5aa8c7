"""Crops out of large photographs: where they lie, and which are refused."""

import numpy as np
from PIL import Image
from refusals import encoded, noise, refused, skipped

from tfstylegan.data import finding, images, sources
from tfstylegan.data.formats import crops


def test_crops_are_parts_of_the_photographs(tmp_path):
    photos = {"a.png": noise(33, 50), "b.png": noise(16, 16)}
    for name, pixels in photos.items():
        (tmp_path / name).write_bytes(encoded(pixels))
    found = finding.open_collection(f"crops:{tmp_path}", height=16, width=16)
    assert found.names == [*(f"a.png#{i}" for i in range(6)), "b.png#0"]
    windows = np.lib.stride_tricks.sliding_window_view(
        photos["a.png"], (16, 16), axis=(0, 1)
    )  # [18, 35, C, 16, 16]
    places = set()
    for i in range(6):
        crop = found.read(i).transpose(2, 0, 1)
        place = np.argwhere((windows == crop).all(axis=(2, 3, 4)))
        assert len(place) == 1
        places.add(tuple(place[0]))
    assert len(places) > 3  # of 630
    np.testing.assert_array_equal(found.read(6), photos["b.png"])
    again = crops.open_collection(tmp_path, height=16, width=16)
    for i in (5, 2, 6, 0):  # in any order
        np.testing.assert_array_equal(again.read(i), found.read(i))


def test_crops_of_rotated_and_transparent_photographs(tmp_path):
    exif = Image.Exif()
    exif[images.ORIENTATION_TAG] = 6
    (tmp_path / "a.png").write_bytes(encoded(noise(8, 30), exif=exif))
    clear = Image.new("RGBA", (8, 30), (9, 9, 9, 0))
    clear.save(tmp_path / "b.png")
    source = sources.open_source(f"crops:{tmp_path}", height=30, width=8, channels=3)
    assert len(source) == 2 and (source.image(1) == 255).all()


def test_photographs_that_are_too_small_are_named_or_skipped(tmp_path, caplog):
    (tmp_path / "big.png").write_bytes(encoded(noise(16, 16)))
    (tmp_path / "small.png").write_bytes(encoded(noise(16, 7)))
    (tmp_path / "text.png").write_bytes(b"text")
    refused(f"crops:{tmp_path}", tmp_path / "small.png", "16x7")
    needles = tmp_path / "small.png", tmp_path / "text.png"
    skipped(f"crops:{tmp_path}", caplog, *needles, left=4)
    refused(f"crops:{tmp_path}", "17x17", height=17, width=17, skip_corrupt=True)
