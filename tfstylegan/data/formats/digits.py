"""The built-in digits: 1,797 handwritten ones, 8x8, that ship inside scikit-learn."""

import numpy as np
from PIL import Image


def load(height: int, width: int, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """uint8 [N, height, width, channels], stretched bicubically, and labels [N, 10]."""
    from sklearn import datasets  # a second's import that other formats do not need

    digits = datasets.load_digits()
    pixels = np.empty([len(digits.images), height, width, channels], np.uint8)
    for i, ink in enumerate(digits.images):  # float64 [8, 8] in 0..16
        image = Image.fromarray(np.float32(ink * (255 / 16)))
        image = image.resize((width, height), Image.Resampling.BICUBIC)
        pixels[i] = np.clip(np.rint(image), 0, 255)[..., np.newaxis]  # grey, tiled to C
    return pixels, np.eye(10, dtype=np.float32)[digits.target]
