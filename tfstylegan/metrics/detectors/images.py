"""What detectors ask of images, and how they take them: in colour and in batches."""

from collections.abc import Callable

import numpy as np


def pixels(images: np.ndarray) -> np.ndarray:
    """uint8 [N, H, W, 1 or 3] as uint8 [N, H, W, 3]."""
    images = np.asarray(images)
    if images.dtype != np.uint8:
        raise ValueError(
            f"images must be uint8 [N, H, W, C], got {images.dtype} "
            f"{list(images.shape)}."
        )
    return _colour("images", images)


def numbers(name: str, images: np.ndarray) -> np.ndarray:
    """Numbers [N, H, W, 1 or 3] as float32 [N, H, W, 3], all of them finite."""
    images = np.asarray(images)
    if images.dtype.kind not in "fiu":
        raise ValueError(f"{name} must be numbers, got {images.dtype}.")
    images = _colour(name, images.astype(np.float32, copy=False))
    if not np.isfinite(images).all():
        raise ValueError(f"{name} must be finite, got NaN or infinity.")
    return images


def _colour(name, images):
    """Grey images with their channel three times."""
    if images.ndim != 4 or images.shape[3] not in (1, 3) or 0 in images.shape:
        raise ValueError(
            f"{name} must be [N, H, W, C] of at least one image with 1 or 3 channels, "
            f"got {list(images.shape)}."
        )
    return np.broadcast_to(images, (*images.shape[:3], 3))


def in_batches(
    function: Callable[..., np.ndarray], *arrays: np.ndarray, size: int
) -> np.ndarray:
    """function(*arrays), of as many rows each, from parts of at most `size` rows."""
    starts = range(0, len(arrays[0]), size)
    parts = [function(*(a[start : start + size] for a in arrays)) for start in starts]
    return np.concatenate([np.asarray(part) for part in parts])
