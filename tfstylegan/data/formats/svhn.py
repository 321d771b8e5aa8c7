"""Street View House Numbers, format 2: `train_32x32.mat`."""

import os
import pathlib

import numpy as np

from tfstylegan.data import collection

NAME = "train_32x32.mat"


def open_collection(path: str | os.PathLike) -> collection.ArrayCollection:
    """uint8 [N, 32, 32, 3] with one-hot labels; the file's class 10 is the digit 0.

    `path`: a .mat file, or a folder that holds NAME. Raises ValueError for
    one that is damaged or holds something else.
    """
    from scipy import io  # a second's import that other formats do not need

    path = pathlib.Path(path)
    if path.is_dir():
        path = path / NAME
        if not path.exists():
            raise ValueError(f"holds no {NAME}")
    try:
        with open(path, "rb") as stream:
            content = io.loadmat(stream)
    except Exception as error:  # damaged files raise nearly every type there is
        raise ValueError(f"{path} is no .mat file or a damaged one ({error})") from None
    pixels, classes = content.get("X"), content.get("y")
    if pixels is None or pixels.dtype != np.uint8 or pixels.shape[:3] != (32, 32, 3):
        raise ValueError(f"{path} holds no uint8 X [32, 32, 3, N]")
    pixels = pixels.reshape(32, 32, 3, -1).transpose(3, 0, 1, 2)  # [N, H, W, C]
    if classes is None or classes.size != len(pixels) or classes.dtype.kind not in "iu":
        raise ValueError(f"{path} holds no y with {len(pixels)} labels")
    if classes.min() < 0 or classes.max() > 10:
        raise ValueError(f"{path} has labels out of 1 to 10")
    labels = collection.one_hot(classes.ravel().astype(np.int64) % 10, 10)
    pixels = np.ascontiguousarray(pixels)
    return collection.ArrayCollection(path, "svhn", pixels, labels)
