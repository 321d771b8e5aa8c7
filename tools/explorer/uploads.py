"""Files that users upload: an image of the model's size, or a sentence why not."""

import os

from tfstylegan.data import images

MAX_BYTES = 16 << 20
MAX_PIXELS = 50_000_000
MIB = 1 << 20


def read(path, *, size, channels, max_bytes=MAX_BYTES, max_pixels=MAX_PIXELS):
    """uint8 [H, W, C] of an image file, cropped and resized to `size` (H, W).

    Nothing is decoded before bytes and pixels are known to be few enough. Raises
    ValueError with a sentence for users.
    """
    found = os.path.getsize(path)
    if found > max_bytes:
        raise ValueError(
            f"The file is too large: it has {found / MIB:.1f} MiB, and at most "
            f"{max_bytes / MIB:g} MiB are taken."
        )
    with open(path, "rb") as file:
        data = file.read()
    try:
        height, width = images.upright_size(data)
        if height * width > max_pixels:
            raise ValueError(
                f"it has {width} x {height} pixels, and at most "
                f"{max_pixels / 1e6:g} million are taken"
            )
        return images.decode(data, height=size[0], width=size[1], channels=channels)
    except ValueError as error:
        raise ValueError(f"The file cannot be used: {error}.") from error
