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


# Pillow mode of so many channels; arrays may have any other number, see fit_pixels.
MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def decode(data: bytes, *, height: int, width: int, channels: int) -> np.ndarray:
    """Decodes an image file and fits it: uint8 [height, width, channels].

    In this order: decode (every checksum is verified); turn upright after the EXIF
    orientation; reduce 16 bits to 8; lay transparent pixels over white, as a browser
    shows them, or keep them (`channels` 4); convert to RGB (`channels` 3) or to luma
    (ITU-R 601, `channels` 1); crop the centre to the aspect ratio; resize with an
    antialiased Lanczos filter. An image that already has the wanted size is not
    resampled. Of an animation, the first frame counts. Colour profiles are ignored.

    Raises ValueError with a short reason where the bytes are no whole image, and where
    it has more than 178,956,970 pixels: twice PIL.Image.MAX_IMAGE_PIXELS, which a
    program (or a configuration file) that trusts its images may raise.
    """
    check_channels(channels)
    return _fitted(load(data), height=height, width=width, channels=channels)


def fit_pixels(
    pixels: np.ndarray, *, height: int, width: int, channels: int
) -> np.ndarray:
    """Fits an array, uint8 or uint16 [H, W, C], as `decode` does an image file.

    C is 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGBA); another number, and 2 and 4
    too, where it equals `channels`: then each channel is a plane of its own, such as
    the depth of RGB-D, that transparency does not mix with the others.

    Raises ValueError where the array has no such shape or type.
    """
    if pixels.dtype == np.uint16:
        pixels = _to_8_bits(pixels)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or 0 in pixels.shape:
        raise ValueError(
            f"pixels must be uint8 or uint16 [H, W, C], got {pixels.dtype} "
            f"{list(pixels.shape)}"
        )
    if pixels.shape == (height, width, channels):
        return pixels
    found = pixels.shape[2]
    if found == channels and channels not in (1, 3):
        planes = [Image.fromarray(plane) for plane in np.moveaxis(pixels, 2, 0)]
        return np.stack([fit(x, height=height, width=width) for x in planes], axis=2)
    if found > 4 or channels not in MODES:
        raise ValueError(f"has {found} channels, and {channels} are wanted")
    image = Image.fromarray(pixels[..., 0] if found == 1 else pixels)
    return _fitted(image, height=height, width=width, channels=channels)


def load(data: bytes) -> Image.Image:
    """An image file, whole and upright, in its own mode; ValueError with a reason."""
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        if image.format == "PNG":  # the only one with checksums
            image.verify()
            image = Image.open(io.BytesIO(data), formats=FORMATS)  # that used it up
        image.load()
    except MemoryError:
        raise
    except Image.UnidentifiedImageError:
        raise ValueError(f"not a {'/'.join(FORMATS)} image") from None
    except Exception as error:  # Pillow's readers raise nearly every type there is
        raise ValueError(str(error) or type(error).__name__) from None
    return upright(image)


def load_pixels(data: bytes) -> np.ndarray:
    """An image file as uint8 [H, W, C] of its own size; RGBA if it has transparency."""
    image = load(data)
    return np.asarray(to_mode(image, "RGBA" if image.has_transparency_data else "RGB"))


def upright_size(data: bytes) -> tuple[int, int]:
    """Height and width of an image file as `load` turns it, from its header alone."""
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.UnidentifiedImageError:
        raise ValueError(f"not a {'/'.join(FORMATS)} image") from None
    except Exception as error:
        raise ValueError(str(error) or type(error).__name__) from None
    turned = orientation(image) >= 5  # rows become columns
    return image.size if turned else image.size[::-1]


def check_channels(channels: int) -> None:
    """Raises ValueError unless an image file can have so many channels."""
    if channels not in MODES:
        raise ValueError(
            f"channels must be 1 (grey), 3 (RGB) or 4 (RGBA), got {channels!r}"
        )


def _fitted(
    image: Image.Image, *, height: int, width: int, channels: int
) -> np.ndarray:
    image = to_mode(image, MODES[channels])
    pixels = np.asarray(fit(image, height=height, width=width))
    return pixels.reshape(height, width, channels)


def upright(image: Image.Image) -> Image.Image:
    """Applies the EXIF orientation; metadata that cannot be read count as absent."""
    operation = UPRIGHT.get(orientation(image))
    return image if operation is None else image.transpose(operation)


def orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 is upright."""
    try:
        value = image.getexif().get(ORIENTATION_TAG)
    except Exception:  # broken metadata say nothing about the pixels
        return 1
    return value if value in UPRIGHT else 1


def to_mode(image: Image.Image, mode: str) -> Image.Image:
    """Converts any Pillow mode to one of MODES; "L" and "RGB" are laid over white."""
    if image.mode.startswith("I"):
        # 16-bit grey. Pillow's own conversion clips at 255 instead of scaling.
        image = Image.fromarray(_to_8_bits(np.asarray(image)))
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        if mode != "RGBA":
            white = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(white, image).convert("RGB")
    elif mode == "RGBA":
        image = image.convert("RGB")  # Pillow knows no way from CMYK to RGBA
    return image if image.mode == mode else image.convert(mode)


def _to_8_bits(deep: np.ndarray) -> np.ndarray:
    """0..65535 to uint8."""
    scaled = np.rint(deep.astype(np.float64) / 257)
    return np.clip(scaled, 0, 255).astype(np.uint8)


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
