"""Sources: what is read, in which order, and what is said about broken input."""

import logging
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from sklearn import datasets

from tfstylegan.data import images, sources

ROOT = pathlib.Path(__file__).parent.parent
RNG = np.random.RandomState(0)


def noise_image(height, width, mode="RGB"):
    shape = [height, width, 3] if mode == "RGB" else [height, width]
    return Image.fromarray(RNG.randint(0, 256, shape).astype(np.uint8))


def open_folder(folder, height=4, width=4, channels=3, **options):
    return sources.open_source(
        str(folder), height=height, width=width, channels=channels, **options
    )


@pytest.fixture
def folder(tmp_path):
    """Five readable images of different kinds, in the order of their names."""
    (tmp_path / "sub" / "deep").mkdir(parents=True)
    noise_image(4, 4).save(tmp_path / "b.png")
    noise_image(9, 5).save(tmp_path / "a.JPG", "JPEG")
    noise_image(4, 8, "L").save(tmp_path / "sub" / "c.PnG", "PNG")
    noise_image(4, 4).convert("P").save(tmp_path / "sub" / "deep" / "d.png")
    noise_image(6, 6).convert("CMYK").save(tmp_path / "sub" / "e.jpeg")
    return tmp_path


def break_image(path):
    """An image whose second half is missing."""
    noise_image(32, 32).save(path, "PNG")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    return path


# The built-in digits.


def test_digits_at_native_size_are_scikit_learns_own():
    source = sources.open_source("digits", height=8, width=8, channels=1)
    digits = datasets.load_digits()
    assert len(source) == 1797 and source.image_shape == (8, 8, 1)
    expected = np.rint(digits.images * 255 / 16)
    np.testing.assert_array_equal(source.images(np.arange(1797))[..., 0], expected)
    assert source.label_dim == 10 and source.labels.dtype == np.float32
    np.testing.assert_array_equal(source.labels.argmax(axis=1), digits.target)
    np.testing.assert_array_equal(source.labels.sum(axis=1), 1)


def test_digits_are_resized_and_tiled_to_colour():
    grey = sources.open_source("digits", height=16, width=24, channels=1)
    colour = sources.open_source("digits", height=16, width=24, channels=3)
    assert colour.image_shape == (16, 24, 3) and colour.image(5).dtype == np.uint8
    every = np.arange(0, 1797, 50)
    np.testing.assert_array_equal(
        colour.images(every), np.tile(grey.images(every), [1, 1, 1, 3])
    )
    native = sources.open_source("digits", height=8, width=8, channels=1)
    shrunk = grey.images(every).reshape(-1, 8, 2, 8, 3).mean(axis=(2, 4))  # [36, 8, 8]
    error = shrunk - native.images(every)[..., 0]
    assert np.sqrt(np.mean(error**2)) < 20  # of 255: the same digits, not others


# Folders.


def test_folder_is_read_in_the_order_of_names(folder):
    source = open_folder(folder)
    assert len(source) == 5 and source.image_shape == (4, 4, 3)
    assert source.labels.shape == (5, 0) and source.label_dim == 0
    names = ["a.JPG", "b.png", "sub/c.PnG", "sub/deep/d.png", "sub/e.jpeg"]
    for i, name in enumerate(names):
        data = (folder / name).read_bytes()
        expected = images.decode(data, height=4, width=4, channels=3)
        np.testing.assert_array_equal(source.image(i), expected)


def test_folder_leaves_out_other_and_hidden_files(folder):
    (folder / "notes.txt").write_text("x")
    (folder / "._b.png").write_bytes(b"resource fork, not an image")
    (folder / ".thumbnails").mkdir()
    noise_image(4, 4).save(folder / ".thumbnails" / "b.png")
    assert len(open_folder(folder)) == 5


def test_folder_links_are_followed_once(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    noise_image(4, 4).save(elsewhere / "z.png")
    (folder / "linked").symlink_to(elsewhere)
    (folder / "sub" / "back").symlink_to(folder)
    assert len(open_folder(folder)) == 6


def test_folder_on_demand_equals_in_memory(folder):
    break_image(folder / "b0.png")
    cached = open_folder(folder, skip_corrupt=True)
    on_demand = open_folder(folder, skip_corrupt=True, cache_bytes=100)
    assert isinstance(cached, sources.ArraySource)
    assert not isinstance(on_demand, sources.ArraySource)
    order = np.array([4, 0, 0, 3])
    np.testing.assert_array_equal(on_demand.images(order), cached.images(order))
    np.testing.assert_array_equal(on_demand.image(2), cached.image(2))
    assert on_demand.fingerprint == cached.fingerprint
    assert len(on_demand) == len(cached) == 5
    assert on_demand.labels.shape == cached.labels.shape


def test_fingerprint_changes_with_names_and_contents_only(folder, tmp_path_factory):
    before = open_folder(folder).fingerprint
    assert open_folder(folder, height=8).fingerprint == before
    moved = folder.rename(tmp_path_factory.mktemp("moved") / "here")
    assert open_folder(moved).fingerprint == before
    (moved / "b.png").rename(moved / "b2.png")
    renamed = open_folder(moved).fingerprint
    noise_image(4, 4).save(moved / "b2.png")
    replaced = open_folder(moved).fingerprint
    assert len({before, renamed, replaced}) == 3


def test_corrupt_images_are_refused_with_a_name_a_count_and_a_remedy(folder):
    first = break_image(folder / "b0.png")
    (folder / "sub" / "empty.jpg").write_bytes(b"")
    with pytest.raises(ValueError) as error:
        open_folder(folder)
    message = str(error.value)
    assert str(first) in message and "2 of 7" in message and "\n" not in message
    assert "--config.data.skip_corrupt=true" in message


def test_corrupt_images_are_skipped_and_each_is_named(folder, caplog):
    intact = open_folder(folder)
    broken = [break_image(folder / "b0.png"), folder / "sub" / "empty.jpg"]
    broken[1].write_bytes(b"")
    with caplog.at_level(logging.WARNING, logger="absl"):
        source = open_folder(folder, skip_corrupt=True)
    np.testing.assert_array_equal(
        source.images(np.arange(5)), intact.images(np.arange(5))
    )
    for path in broken:
        assert str(path) in caplog.text


def test_folder_with_nothing_but_corrupt_images_is_refused(tmp_path):
    break_image(tmp_path / "only.png")
    with pytest.raises(ValueError, match="1 of 1 .*only.png.*none is left"):
        open_folder(tmp_path, skip_corrupt=True)


def test_image_that_breaks_later_is_named(folder):
    source = open_folder(folder, cache_bytes=0)
    break_image(folder / "b.png")
    with pytest.raises(ValueError, match=re.escape(str(folder / "b.png"))):
        source.images(np.array([0, 1]))


def test_bad_names_and_options_are_refused_in_one_sentence(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.txt").write_text("x")
    for name, complaint in [
        ("missing", "does not exist"),
        ("empty", "holds no image"),
        ("file.txt", "is not a folder"),
    ]:
        with pytest.raises(ValueError, match=f"{name}.*{complaint}") as error:
            open_folder(tmp_path / name)
        assert "--config.data.source" in str(error.value)
        assert "\n" not in str(error.value)
    noise_image(4, 4).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="channels must be 1 .*, 3 .* or 4 .*, got 5"):
        open_folder(tmp_path, channels=5)
    with pytest.raises(ValueError, match="channels must be at least 1, got 0"):
        open_folder(tmp_path, channels=0)
    with pytest.raises(ValueError, match="max_images must be at least 0, got -1"):
        open_folder(tmp_path, max_images=-1)
    with pytest.raises(ValueError, match="at least 1, got 0x4"):
        open_folder(tmp_path, height=0)


def test_sources_open_without_tensorflow():
    program = (
        "import sys; from tfstylegan.data import sources;"
        "sources.open_source('digits', height=8, width=8, channels=1);"
        "sys.exit('tensorflow' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)
