"""Pairs of images that look the same: perceptual hashes within a Hamming distance."""

import functools
from typing import NamedTuple

import numpy as np
from PIL import Image

SIDE = 32  # of the image that the hash is made of
FLAT = 1.0  # standard deviation, in levels, below which an image shows nothing
# Measured on crops of photographs, 200x200: copies at half the size, as JPEG of quality
# 30 or cropped by 2 pixels differ in 4 bits at most and their thumbnails correlate by
# 0.991 or more; unlike crops differ in 22 bits or more, by 0.6 or less. The hash alone
# takes plain pictures, such as digits, for copies.
RADIUS = 6
CORRELATION = 0.98
THUMBNAIL = 16


class Look(NamedTuple):
    """What tells of similarity."""

    hash: int  # 64 bits
    thumbnail: bytes  # uint8 [THUMBNAIL, THUMBNAIL]


def look(grey: Image.Image) -> Look | None:
    """Of an image in mode L; None for a flat one, whose hash would be mere noise.

    The hash tells which of the 64 lowest frequencies of the discrete cosine transform
    are above their median: scaling, contrast and compression leave them alone.
    """
    small = grey.resize((SIDE, SIDE), Image.Resampling.BILINEAR)  # antialiased
    pixels = np.asarray(small, np.float32)
    if pixels.std() < FLAT:
        return None
    waves = _waves()
    spectrum = waves @ pixels @ waves.T  # [8, 8]
    bits = np.packbits(spectrum > np.median(spectrum))
    thumbnail = small.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
    return Look(int.from_bytes(bits.tobytes(), "big"), thumbnail.tobytes())


def copies(looks: list[Look | None], *, radius: int = RADIUS) -> dict[int, int]:
    """{index: index of the earlier image that it is a copy of}; originals are no keys.

    Copies have hashes that differ in `radius` bits at most, and thumbnails that
    correlate. Two such hashes agree in one of radius + 1 parts of their bits, so only
    images with a part in common are compared: 70,000 in seconds.
    """
    known = np.array([i for i, look in enumerate(looks) if look is not None], np.int64)
    hashes = np.array([looks[i].hash for i in known], np.uint64)
    thumbnails = np.frombuffer(b"".join(looks[i].thumbnail for i in known), np.uint8)
    thumbnails = thumbnails.reshape(-1, THUMBNAIL**2)  # [N, 256]
    pairs = set()
    bounds = [64 * i // (radius + 1) for i in range(radius + 2)]
    for low, high in zip(bounds, bounds[1:]):
        part = hashes >> np.uint64(low) & np.uint64((1 << high - low) - 1)
        for bucket in _buckets(part):
            pairs.update(_pairs(bucket, hashes, thumbnails, radius))
    original = {}
    for later, earlier in sorted(
        pairs
    ):  # a copy of a copy needs an original of its own
        if later not in original and earlier not in original:
            original[later] = earlier
    return {int(known[i]): int(known[j]) for i, j in original.items()}


def _buckets(keys):
    """Arrays of the indices, two or more and rising, that share a key."""
    order = np.argsort(keys, kind="stable")
    cuts = np.flatnonzero(np.diff(keys[order])) + 1
    return [bucket for bucket in np.split(order, cuts) if len(bucket) > 1]


def _pairs(bucket, hashes, thumbnails, radius):
    """Yields (later, earlier) of all copies among the indices `bucket`."""
    members = hashes[bucket]
    for i, earlier in enumerate(bucket[:-1]):
        near = np.bitwise_count(members[i + 1 :] ^ members[i]) <= radius
        if near.any():
            later = bucket[i + 1 :][near]
            alike = _correlation(thumbnails[later], thumbnails[earlier]) >= CORRELATION
            yield from ((int(j), int(earlier)) for j in later[alike])


def _correlation(many, one):
    """Of uint8 [M, P] with uint8 [P]: float [M]."""
    many = many - many.mean(axis=1, keepdims=True)
    one = one - one.mean()
    scale = np.linalg.norm(many, axis=1) * np.linalg.norm(one)
    return many @ one / np.maximum(scale, 1e-9)


@functools.cache
def _waves():
    """The 8 lowest frequencies of the cosine transform (DCT-II): [8, SIDE]."""
    positions = (np.arange(SIDE) + 0.5) * (np.pi / SIDE)
    return np.cos(np.arange(8)[:, np.newaxis] * positions).astype(np.float32)
