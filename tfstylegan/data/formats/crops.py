"""Crops at random places out of large photographs, at their full sharpness."""

import functools
import os
import threading

import numpy as np
from absl import logging

from tfstylegan.data import collection, images
from tfstylegan.data.formats import folder

SEED = 0  # of the places
PHOTOS_HELD = 2  # decoded, for crops that are read one after the other


class Crops:
    """Of each photograph as many crops as would tile it, one photograph after another.

    The place of crop i is a function of (SEED, i).
    """

    def __init__(
        self,
        photos: folder.Folder,
        sizes: dict[int, tuple[int, int]],
        height: int,
        width: int,
    ):
        self.root = photos.root
        self.description = f"crops {height}x{width} of folder {photos.root}"
        self.names, self._places = [], []  # places: photograph, its height and width
        for photo, (photo_height, photo_width) in sizes.items():
            for i in range((photo_height // height) * (photo_width // width)):
                self.names.append(f"{photos.names[photo]}#{i}")
                self._places.append((photo, photo_height, photo_width))
        self.labels = collection.no_labels(len(self.names))
        self._photos = photos
        self._size = height, width
        self._lock = threading.Lock()
        self._load = functools.lru_cache(PHOTOS_HELD)(self._decode)

    def __len__(self) -> int:
        return len(self.names)

    def read(self, index: int) -> np.ndarray:
        """uint8 [height, width, C]."""
        height, width = self._size
        photo, photo_height, photo_width = self._places[index]
        place = np.random.default_rng([SEED, index])
        top = int(place.integers(photo_height - height + 1))
        left = int(place.integers(photo_width - width + 1))
        with self._lock:  # else every thread would decode the same photograph
            pixels = self._load(photo)
        if pixels.shape[:2] != (photo_height, photo_width):
            raise ValueError("the photograph has another size than before")
        return pixels[top : top + height, left : left + width]

    def _decode(self, photo: int) -> np.ndarray:
        return images.load_pixels(self._photos.read(photo))


def open_collection(
    path: str | os.PathLike, *, height: int, width: int, skip_corrupt: bool = False
) -> Crops:
    """Opens a folder of photographs; nothing is resized.

    Raises ValueError for one that is smaller than height x width or cannot be read;
    with `skip_corrupt` the log names these and they are left out.
    """
    photos = folder.open_collection(path, labels=False)
    sizes = {}
    for i, name in enumerate(photos.names):
        try:
            size = images.upright_size(photos.read(i))
            if size[0] < height or size[1] < width:
                got = f"{size[0]}x{size[1]} pixels, a crop has {height}x{width}"
                raise ValueError(got)
            sizes[i] = size
        except (OSError, ValueError) as error:
            if not skip_corrupt:
                raise ValueError(
                    f"{photos.root}/{name}: {error}; pass "
                    "--config.data.skip_corrupt=true to leave such photographs out"
                ) from None
            logging.warning("skipping %s/%s (%s)", photos.root, name, error)
    if not sizes:
        raise ValueError(f"holds no photograph of {height}x{width} pixels or more")
    return Crops(photos, sizes, height, width)
