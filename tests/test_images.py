"""Decoding: any mode, size and orientation to the wanted pixels, damage refused."""

import io

import numpy as np
import pytest
from PIL import Image

from tfstylegan.data import images

RNG = np.random.RandomState(0)


def encoded(image, **options):
    file = io.BytesIO()
    image.save(file, options.pop("format", "PNG"), **options)
    return file.getvalue()


def decoded(image, *, height, width, channels=3, **options):
    data = encoded(image, **options)
    return images.decode(data, height=height, width=width, channels=channels)


def noise_image(height, width):
    return Image.fromarray(RNG.randint(0, 256, [height, width, 3]).astype(np.uint8))


def test_decode_leaves_an_image_of_the_wanted_size_untouched():
    image = noise_image(6, 10)
    pixels = decoded(image, height=6, width=10)
    np.testing.assert_array_equal(pixels, np.asarray(image))


def test_decode_scales_16_bit_grey():
    deep = RNG.randint(0, 65536, [5, 5]).astype(np.uint16)
    deep[0, :2] = 0, 65535
    pixels = decoded(Image.fromarray(deep), height=5, width=5)
    expected = np.rint(deep / 257)[..., np.newaxis]
    np.testing.assert_array_equal(pixels, np.tile(expected, [1, 1, 3]))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize("channels", [1, 3])
def test_decode_lays_transparency_over_white(mode, channels):
    image = Image.new(mode, (4, 4), (40,) * (len(mode) - 1) + (0,))
    image.paste((40,) * (len(mode) - 1) + (255,), (0, 0, 2, 4))
    image.paste((40,) * (len(mode) - 1) + (128,), (3, 3, 4, 4))
    pixels = decoded(image, height=4, width=4, channels=channels)
    assert pixels.shape == (4, 4, channels)
    assert (pixels[:, :2] == 40).all() and (pixels[:3, 2:] == 255).all()
    half = 255 + (40 - 255) * 128 / 255
    assert abs(pixels[3, 3].astype(float) - half).max() <= 1


def test_decode_lays_a_transparent_palette_entry_over_white():
    image = Image.new("P", (4, 2), 0)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.paste(1, (2, 0, 4, 2))
    pixels = decoded(image, height=2, width=4, transparency=0)
    assert (pixels[:, :2] == 255).all() and (pixels[:, 2:] == [0, 0, 255]).all()


def test_decode_converts_cmyk_and_one_bit():
    red = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    pixels = decoded(red, height=8, width=8, format="JPEG", quality=95)
    assert abs(pixels.astype(int) - [255, 0, 0]).max() <= 4
    bits = RNG.randint(0, 2, [8, 8]).astype(bool)
    pixels = decoded(Image.fromarray(bits), height=8, width=8, channels=1)
    np.testing.assert_array_equal(pixels[..., 0], bits * 255)


def test_decode_to_grey_is_luma():
    image = noise_image(4, 4)
    pixels = decoded(image, height=4, width=4, channels=1)
    luma = np.asarray(image) @ [0.299, 0.587, 0.114]
    assert abs(pixels[..., 0] - luma).max() <= 1


@pytest.mark.parametrize(
    "orientation, turn",
    [
        (1, lambda x: x),
        (2, lambda x: x[:, ::-1]),
        (3, lambda x: x[::-1, ::-1]),
        (4, lambda x: x[::-1]),
        (5, lambda x: x.transpose(1, 0, 2)),
        (6, lambda x: x[::-1].transpose(1, 0, 2)),  # a quarter turn clockwise
        (7, lambda x: x[::-1, ::-1].transpose(1, 0, 2)),
        (8, lambda x: x.transpose(1, 0, 2)[::-1]),
    ],
)
def test_decode_applies_exif_orientation(orientation, turn):
    image = noise_image(4, 6)
    exif = Image.Exif()
    exif[images.ORIENTATION_TAG] = orientation
    expected = turn(np.asarray(image))
    pixels = decoded(
        image, height=expected.shape[0], width=expected.shape[1], exif=exif
    )
    np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize("size", [(4, 12), (12, 4), (4, 4)])
def test_decode_crops_the_centre(size):
    height, width = size
    image = noise_image(height, width)
    top, left = (height - 4) // 2, (width - 4) // 2
    expected = np.asarray(image)[top : top + 4, left : left + 4]
    np.testing.assert_array_equal(decoded(image, height=4, width=4), expected)


def test_decode_resizes_without_aliasing():
    stripes = np.zeros([64, 64, 3], np.uint8)
    stripes[:, ::2] = 255  # the finest pattern there is: its average is all that fits
    pixels = decoded(Image.fromarray(stripes), height=8, width=8)
    assert abs(pixels[:, 1:-1].astype(float) - 127.5).max() < 8


@pytest.mark.parametrize("size", [(1, 300), (300, 1), (7, 5), (1, 1)])
def test_decode_fits_any_size_to_any_shape(size):
    pixels = decoded(noise_image(*size), height=8, width=12)
    assert pixels.shape == (8, 12, 3) and pixels.dtype == np.uint8


def test_decode_finds_damage():
    data = encoded(noise_image(32, 32))
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 0xFF
    jpeg = encoded(noise_image(64, 64), format="JPEG")
    for bad in [b"", b"hello", data[:-300], bytes(flipped), jpeg[: len(jpeg) // 2]]:
        with pytest.raises(ValueError):
            images.decode(bad, height=8, width=8, channels=3)
