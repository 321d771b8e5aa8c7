"""One encoded image (bytes of a PNG, JPEG, ...) to uint8 pixels of a wanted shape."""

import io

import numpy as np
from PIL import Image

# What is in the file decides, not how its name ends: pictures saved from the web often
# carry a wrong ending. The list is closed because some of Pillow's other readers start
# external programs.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")

# EXIF orientation (tag 0x0112) -> the operation that turns the image upright.
ORIENTATION_TAG = 0x0112
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode(data: bytes, *, height: int, width: int, channels: int) -> np.ndarray:
    """Decodes an image file and fits it: uint8 [height, width, channels].

    In this order: decode (every checksum is verified); turn upright after the EXIF
    orientation; reduce 16 bits to 8; lay transparent pixels over white, as a browser
    shows them; convert to RGB (`channels` 3) or to luma (ITU-R 601, `channels` 1);
    crop the centre to the aspect ratio; resize with an antialiased Lanczos filter. An
    image that already has the wanted size is not resampled. Of an animation, the first
    frame counts. Colour profiles are ignored.

    Raises ValueError with a short reason where the bytes are no whole image.
    """
    check_channels(channels)
    try:
        Image.open(io.BytesIO(data), formats=FORMATS).verify()
        image = Image.open(io.BytesIO(data), formats=FORMATS)  # verify() used it up
        image.load()
    except MemoryError:
        raise
    except Image.UnidentifiedImageError:
        raise ValueError(f"not a {'/'.join(FORMATS)} image") from None
    except Exception as error:  # Pillow's readers raise nearly every type there is
        raise ValueError(str(error) or type(error).__name__) from None
    image = to_mode(upright(image), "L" if channels == 1 else "RGB")
    pixels = np.asarray(fit(image, height=height, width=width))
    return pixels.reshape(height, width, channels)


def check_channels(channels: int) -> None:
    """Raises ValueError unless `channels` is 1 (grey) or 3 (RGB)."""
    if channels not in (1, 3):
        raise ValueError(f"channels must be 1 (grey) or 3 (RGB), got {channels!r}.")


def upright(image: Image.Image) -> Image.Image:
    """Applies the EXIF orientation; metadata that cannot be read count as absent."""
    try:
        orientation = image.getexif().get(ORIENTATION_TAG)
    except Exception:  # broken metadata say nothing about the pixels
        orientation = None
    operation = UPRIGHT.get(orientation)
    return image if operation is None else image.transpose(operation)


def to_mode(image: Image.Image, mode: str) -> Image.Image:
    """Converts any Pillow mode to `mode` ("L" or "RGB"), transparency over white."""
    if image.mode.startswith("I"):
        # 16-bit grey. Pillow's own conversion clips at 255 instead of scaling.
        deep = np.asarray(image).astype(np.float64)
        image = Image.fromarray(np.clip(np.rint(deep / 257), 0, 255).astype(np.uint8))
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image).convert("RGB")
    return image if image.mode == mode else image.convert(mode)


def fit(image: Image.Image, *, height: int, width: int) -> Image.Image:
    """Crops the centre to the aspect ratio of height x width and resizes to it."""
    crop_width = min(image.width, max(1, round(image.height * width / height)))
    crop_height = min(image.height, max(1, round(image.width * height / width)))
    left = (image.width - crop_width) // 2
    top = (image.height - crop_height) // 2
    if (crop_width, crop_height) != image.size:
        image = image.crop((left, top, left + crop_width, top + crop_height))
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    return image
