"""How one image of a data set is made: fitted, converted, encoded."""

import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from tfstylegan.data import images, recipe


def noise(*shape):
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


def file_of(image, format_, **options):
    file = io.BytesIO()
    image.save(file, format_, **options)
    return file.getvalue()


def png_of(pixels):
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    return file_of(image, "PNG")


def opened(data):
    return Image.open(io.BytesIO(data))


def prepared(source, **options):
    return opened(recipe.prepare(source, recipe.Recipe(size=(16, 16), **options)))


def test_lanczos_and_crop_are_what_training_does_to_a_folder():
    for shape in ((40, 60, 3), (61, 33, 3), (16, 24, 3), (5, 9, 3)):
        data = png_of(noise(*shape))
        made = recipe.prepare(data, recipe.Recipe(size=(16, 24)))
        size = {"height": 16, "width": 24, "channels": 3}
        np.testing.assert_array_equal(
            images.decode(made, **size), images.decode(data, **size)
        )


def test_letterbox_shows_all_of_the_image_between_black_bars():
    made = np.asarray(prepared(np.full([20, 40, 3], 200, np.uint8), fit="letterbox"))
    assert made.shape == (16, 16, 3)
    assert (made[4:12] == 200).all() and not made[:4].any() and not made[12:].any()


def test_fit_none_refuses_another_aspect_ratio():
    assert prepared(noise(32, 32, 3), fit="none").size == (16, 16)
    with pytest.raises(ValueError, match="20x40.*16x16"):
        prepared(noise(20, 40, 3), fit="none")


def test_a_depth_does_not_weigh_the_colours():
    pixels = noise(32, 32, 4)
    pixels[..., 3] = 0
    kernel = Image.Resampling.LANCZOS
    expected = Image.fromarray(pixels[..., :3]).resize((16, 16), kernel)
    made = np.asarray(prepared(pixels, channels="rgbd"))
    np.testing.assert_array_equal(made[..., :3], expected)
    assert not np.asarray(prepared(pixels, channels="4"))[..., :3].any()


def test_modes_and_depths():
    white = Image.new("RGBA", (16, 16), (255, 0, 0, 0))
    assert prepared(png_of(white)).getpixel((0, 0)) == (255, 255, 255)
    assert prepared(png_of(white), channels="4").getpixel((0, 0))[3] == 0
    deep = np.full([16, 16, 1], 257 * 77, np.uint16)
    assert prepared(deep, channels="1").getpixel((3, 3)) == 77
    cmyk = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    assert prepared(file_of(cmyk, "JPEG"), channels="4").getpixel((0, 0))[3] == 255


def test_exif_turns_and_metadata_stay_behind():
    image = Image.fromarray(noise(16, 32, 3))
    exif = Image.Exif()
    exif[images.ORIENTATION_TAG] = 6
    data = file_of(image, "PNG", exif=exif)
    made = recipe.prepare(data, recipe.Recipe(size=(32, 16)))
    np.testing.assert_array_equal(
        opened(made), image.transpose(Image.Transpose.ROTATE_270)
    )
    exif[images.ORIENTATION_TAG] = 1
    data = file_of(image, "PNG", exif=exif)
    assert b"eXIf" in data
    assert b"eXIf" not in recipe.prepare(data, recipe.Recipe(size=(16, 32)))


def test_srgb_converts_from_the_embedded_profile():
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    # A screen whose red is green: the names of two tags of the profile are exchanged.
    other = srgb.replace(b"rXYZ", b"?XYZ", 1).replace(b"gXYZ", b"rXYZ", 1)
    other = other.replace(b"?XYZ", b"gXYZ", 1)
    pixels = noise(16, 16, 4)
    for profile, channels in ((srgb, [0, 1, 2]), (other, [1, 0, 2])):
        for depth in (3, 4):
            image = Image.fromarray(pixels[..., :depth])
            data = file_of(image, "PNG", icc_profile=profile)
            made = np.asarray(prepared(data, srgb=True, channels=str(depth)))
            error = made[..., :3].astype(int) - pixels[..., channels]
            assert np.abs(error).max() <= 2
            np.testing.assert_array_equal(made[..., 3:], pixels[..., 3:depth])
            left = np.asarray(prepared(data, channels=str(depth)))
            np.testing.assert_array_equal(left, pixels[..., :depth])


def test_srgb_leaves_alone_what_has_no_usable_profile():
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    pixels = noise(16, 16, 3)
    for profile in (b"", b"nonsense", lab):
        data = file_of(Image.fromarray(pixels), "PNG", icc_profile=profile)
        np.testing.assert_array_equal(prepared(data, srgb=True), pixels)


@pytest.mark.parametrize(
    ("size", "base"),
    [
        ((256, 256), (4, 4)),
        ((192, 256), (3, 4)),
        ((28, 28), (7, 7)),
        ((8, 4), (4, 2)),
        ((2, 2), (1, 1)),
        ((1024, 512), (8, 4)),
    ],
)
def test_base_grid_doubles_to_the_size(size, base):
    assert recipe.base_grid(*size) == base


@pytest.mark.parametrize("text", ["255", "0", "64x31", "x", "-4", "64x", "1", ""])
def test_sizes_that_networks_do_not_accept(text):
    with pytest.raises(ValueError, match=r"--size|near it is"):
        recipe.parse_size(text)
    assert recipe.parse_size("192x256") == (192, 256)


@pytest.mark.parametrize(
    "pixels", [np.zeros([4, 4, 5], np.uint8), np.zeros([4, 4, 0], np.uint8), np.eye(4)]
)
def test_arrays_that_are_no_images(pixels):
    with pytest.raises(ValueError, match=r"is an array \w+ \[4, 4"):
        prepared(pixels)
    grey = np.full([16, 16, 2], 200, np.uint8)
    assert prepared(grey, channels="4").getpixel((0, 0)) == (200,) * 4
