"""How one image becomes what a dataset stores: decoded, fitted, encoded losslessly."""

import dataclasses
import io
import re

import numpy as np
from PIL import Image, ImageCms

from tfstylegan.data import images

FILTERS = {
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
    "bicubic": Image.Resampling.BICUBIC,
}
FITS = ("crop", "letterbox", "none")
ENCODINGS = ("png", "webp")
KINDS = {"1": "L", "3": "RGB", "4": "RGBA", "rgbd": "RGBA"}  # --channels: Pillow mode
# Of a PNG that is stored as it came, what its header may tell besides the pixels.
PLAIN = {"gamma", "srgb", "dpi", "aspect", "chromaticity", "interlace"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """What is done to every image of a dataset; `size` None: nothing but encoding."""

    size: tuple[int, int] | None = None  # H, W
    channels: str = "3"  # a key of KINDS; rgbd: the fourth is a depth, not an opacity
    filter: str = "lanczos"  # antialiased: its support grows with the reduction
    fit: str = "crop"  # the centre; letterbox: black bars; none: same aspect ratio only
    encoding: str = "png"
    srgb: bool = False  # convert from the embedded colour profile

    def __post_init__(self):
        for field, allowed in (
            ("channels", KINDS),
            ("filter", FILTERS),
            ("fit", FITS),
            ("encoding", ENCODINGS),
        ):
            if getattr(self, field) not in allowed:
                raise ValueError(
                    f"{field} must be one of {', '.join(allowed)}; "
                    f"got {getattr(self, field)!r}"
                )
        if self.size is not None:
            base_grid(*self.size)

    @property
    def depth(self) -> int:
        """Numbers a pixel."""
        return len(KINDS[self.channels])


def parse_size(text: str) -> tuple[int, int]:
    """(H, W) of "256" or "192x256"; ValueError where the networks do not accept it."""
    match = re.fullmatch(r"(\d{1,5})(?:x(\d{1,5}))?", text)
    if not match:
        raise ValueError(f"--size must be like 256 or 192x256 (HxW); got {text!r}")
    height, width = int(match[1]), int(match[2] or match[1])
    base_grid(height, width)
    return height, width


def base_grid(height: int, width: int) -> tuple[int, int]:
    """The grid (h, w) that doubles to height x width, with sides of 3 or more if any.

    Raises ValueError where the networks do not accept the size: both must be even.
    """
    if min(height, width) < 2 or height % 2 or width % 2:
        nearest = "x".join(str(max(2, side + side % 2)) for side in (height, width))
        raise ValueError(
            "an image must be a base grid that is doubled once or more, such as 4x4 to "
            f"256x256 or 3x4 to 192x256; got {height}x{width}, near it is {nearest}"
        )
    height, width = height // 2, width // 2
    while height % 2 == 0 and width % 2 == 0 and min(height, width) >= 6:
        height, width = height // 2, width // 2
    return height, width


def prepare(source: bytes | np.ndarray, recipe: Recipe) -> bytes:
    """The PNG or WebP file that a dataset stores of an image.

    In this order: decode; turn upright after the EXIF orientation; with `srgb`, convert
    from the embedded colour profile; 16 bits to 8; to grey, RGB (transparency over
    white) or RGBA; crop, pad and resize. An image of the wanted size is not resampled,
    and a PNG that holds just the wanted pixels is taken as it is, byte for byte.

    Raises ValueError with a short reason.
    """
    image = decode(source)
    if isinstance(source, bytes) and _is_wanted(image, source, recipe):
        return source
    if recipe.srgb:
        image = to_srgb(image)
    image = fit(images.to_mode(image, KINDS[recipe.channels]), recipe)
    file = io.BytesIO()
    if recipe.encoding == "png":
        image.save(file, "PNG")
    else:
        image.save(file, "WEBP", lossless=True, exact=True)
    return file.getvalue()


def decode(source: bytes | np.ndarray) -> Image.Image:
    """The image of a file's bytes or of uint8 or uint16 [H, W, C], in its own mode.

    Upright; only a file that did not have to be turned keeps its `format`. Raises
    ValueError with a short reason where the bytes are no whole image.
    """
    if isinstance(source, np.ndarray):
        if source.dtype == np.uint16:
            source = np.rint(source / 257).astype(np.uint8)
        shape = source.shape
        if source.dtype != np.uint8 or len(shape) != 3 or 0 in shape or shape[2] > 4:
            raise ValueError(f"is an array {source.dtype} {list(source.shape)}")
        return Image.fromarray(source[..., 0] if source.shape[2] == 1 else source)
    return images.load(source)


def size(source: bytes | np.ndarray) -> tuple[int, int]:
    """(H, W) upright, of the header alone; ValueError where there is none."""
    if isinstance(source, np.ndarray):
        return source.shape[:2]
    return images.upright_size(source)


def to_srgb(image: Image.Image) -> Image.Image:
    """Converts from the embedded colour profile; one that cannot be read is ignored."""
    profile = image.info.get("icc_profile")
    if not profile or image.mode.startswith("I"):
        return image
    alpha = None
    if image.has_transparency_data:
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
    if image.mode in ("P", "RGBA"):
        image = image.convert("RGB")
    try:
        converted = ImageCms.profileToProfile(
            image,
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            ImageCms.createProfile("sRGB"),
            outputMode="RGB",
        )
    except (ImageCms.PyCMSError, OSError, ValueError):
        converted = image
    if alpha is not None:
        converted.putalpha(alpha)
    return converted


def fit(image: Image.Image, recipe: Recipe) -> Image.Image:
    """Crops, pads and resizes to the recipe's size."""
    if recipe.size is None or image.size == recipe.size[::-1]:
        return image
    height, width = recipe.size
    if recipe.fit == "letterbox":
        scale = min(width / image.width, height / image.height)
        inner = [max(1, round(side * scale)) for side in image.size]
        small = _resize(image, tuple(inner), recipe)
        image = Image.new(image.mode, (width, height))
        image.paste(small, ((width - inner[0]) // 2, (height - inner[1]) // 2))
        return image
    if recipe.fit == "none" and image.width * height != image.height * width:
        raise ValueError(
            f"is {image.height}x{image.width}, which is not the aspect ratio of "
            f"{height}x{width}, and nothing may be cropped"
        )
    crop_width = min(image.width, max(1, round(image.height * width / height)))
    crop_height = min(image.height, max(1, round(image.width * height / width)))
    left = (image.width - crop_width) // 2
    top = (image.height - crop_height) // 2
    image = image.crop((left, top, left + crop_width, top + crop_height))
    return _resize(image, (width, height), recipe)


def _resize(image, size, recipe):
    kernel = FILTERS[recipe.filter]
    if recipe.channels != "rgbd":
        return image.resize(size, kernel)
    # Of RGBA, Pillow weighs the colours with the opacity, which a depth must not do.
    return Image.merge("RGBA", [band.resize(size, kernel) for band in image.split()])


def _is_wanted(image, data, recipe):
    """Whether a file is a PNG that any reader decodes to just the wanted pixels."""
    modes = {"L": ("1", "L"), "RGB": ("1", "L", "P", "RGB"), "RGBA": ("RGBA",)}
    kind = KINDS[recipe.channels]
    return (
        recipe.encoding == "png" == (image.format or "").lower()
        and data[24] <= 8  # bits; of 16, readers make 8 in different ways
        and recipe.size in (None, image.size[::-1])
        and image.mode in modes[kind]
        and (kind == "RGBA" or not image.has_transparency_data)
        and image.info.keys() <= PLAIN
    )
