"""Decoding: any mode, size and orientation to the wanted pixels, damage refused."""

import io
import struct
import zlib

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


def test_decode_keeps_transparency_if_asked():
    pixels = RNG.randint(0, 256, [6, 5, 4]).astype(np.uint8)
    image = Image.fromarray(pixels)
    np.testing.assert_array_equal(decoded(image, height=6, width=5, channels=4), pixels)
    opaque = decoded(image.convert("RGB"), height=6, width=5, channels=4)
    np.testing.assert_array_equal(opaque[..., :3], pixels[..., :3])
    assert (opaque[..., 3] == 255).all()
    cmyk = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    red = decoded(cmyk, height=8, width=8, channels=4, format="JPEG")
    assert abs(red.astype(int) - [255, 0, 0, 255]).max() <= 8
    # What cannot be seen does not bleed into what can, when the image shrinks.
    half = Image.new("RGBA", (8, 8), (0, 255, 0, 0))
    half.paste((255, 0, 0, 255), (0, 0, 4, 8))
    small = decoded(half, height=2, width=2, channels=4)
    assert (small[small[..., 3] > 0][:, 1] == 0).all()


def png_file(height, width, bits, rows):
    """A PNG in RGB from its parts; Pillow itself writes 8 bits only."""
    parts = [(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, 2, 0, 0, 0))]
    parts += [(b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    data = b"\x89PNG\r\n\x1a\n"
    for kind, content in parts:
        check = struct.pack(">I", zlib.crc32(kind + content))
        data += struct.pack(">I", len(content)) + kind + content + check
    return data


def test_decode_reduces_16_bit_colour():
    deep = RNG.randint(0, 65536, [5, 4, 3]).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in deep)  # unfiltered
    pixels = images.decode(png_file(5, 4, 16, rows), height=5, width=4, channels=3)
    assert abs(pixels - deep / 257).max() <= 1


@pytest.mark.parametrize("mode, channels", [("L", 1), ("LA", 2), ("RGB", 3)])
@pytest.mark.parametrize("wanted", [1, 3, 4])
def test_pixels_are_fitted_as_an_image_file_is(mode, channels, wanted):
    shape = [9, 14, channels] if channels > 1 else [9, 14]
    image = Image.fromarray(RNG.randint(0, 256, shape).astype(np.uint8))
    assert image.mode == mode
    pixels = np.asarray(image).reshape(9, 14, channels)
    for height, width in [(9, 14), (4, 4), (20, 10)]:
        size = {"height": height, "width": width, "channels": wanted}
        np.testing.assert_array_equal(
            images.fit_pixels(pixels, **size), decoded(image, **size)
        )


def test_pixels_of_16_bits_are_scaled():
    deep = RNG.randint(0, 65536, [5, 4, 3]).astype(np.uint16)
    pixels = images.fit_pixels(deep, height=5, width=4, channels=3)
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, np.rint(deep / 257))


@pytest.mark.parametrize("channels", [2, 4, 6])
def test_planes_do_not_mix(channels):
    pixels = RNG.randint(0, 256, [8, 12, channels]).astype(np.uint8)
    fitted = images.fit_pixels(pixels, height=4, width=4, channels=channels)
    for plane in range(channels):
        alone = images.fit_pixels(
            pixels[..., plane : plane + 1], height=4, width=4, channels=1
        )
        np.testing.assert_array_equal(fitted[..., plane : plane + 1], alone)


@pytest.mark.parametrize(
    "pixels, channels, complaint",
    [
        (np.zeros([4, 4, 5], np.uint8), 3, "has 5 channels, and 3 are wanted"),
        (np.zeros([4, 4, 3], np.uint8), 5, "has 3 channels, and 5 are wanted"),
        (np.zeros([4, 4], np.uint8), 1, r"\[H, W, C\], got uint8 \[4, 4\]"),
        (np.zeros([4, 4, 3], np.float32), 3, "got float32"),
        (np.zeros([0, 4, 3], np.uint8), 3, r"got uint8 \[0, 4, 3\]"),
    ],
)
def test_pixels_that_do_not_fit_are_refused(pixels, channels, complaint):
    with pytest.raises(ValueError, match=complaint):
        images.fit_pixels(pixels, height=8, width=8, channels=channels)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_the_limit_of_pixels_is_a_large_photograph():
    assert images.upright_size(png_file(10_000, 17_000, 8, b"")) == (10_000, 17_000)
    for read in (images.upright_size, images.load):
        with pytest.raises(ValueError, match="300000000 pixels.* limit of 178956970"):
            read(png_file(15_000, 20_000, 8, b""))
