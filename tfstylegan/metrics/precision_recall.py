"""Precision and recall (Kynkaanniemi et al. 2019), density and coverage (Naeem 2020).

A set's manifold is the union of balls around its samples, each with the distance to
the sample's k-th nearest neighbour in the set as its radius.
"""

import numpy as np

from tfstylegan.metrics import arrays

BLOCK = 1 << 25  # bytes of one block of the distance matrix


def precision_recall(
    real: np.ndarray, fake: np.ndarray, *, k: int = 3, half: bool = False
) -> tuple[float, float]:
    """(precision, recall) of generated samples.

    precision: part of the generated samples that lie in the manifold of the real ones;
    recall: part of the real samples that lie in that of the generated ones.

    Features [N, D] and [M, D]. With `half`, features and distances are rounded to
    float16, as the published numbers are computed. Memory is that of the features in
    float64 and of blocks of 32 MiB.

    Raises ValueError for fewer than k + 1 rows, other shapes and what is not finite.
    """
    spaces = _Spaces(real, fake, k, half)
    fake_inside = np.zeros(len(spaces.fake), bool)
    real_inside = np.zeros(len(spaces.real), bool)
    for rows, distances in spaces.cross():
        fake_inside |= (distances <= spaces.real_radii[rows, np.newaxis]).any(axis=0)
        real_inside[rows] = (distances <= spaces.fake_radii).any(axis=1)
    return float(fake_inside.mean()), float(real_inside.mean())


def density_coverage(
    real: np.ndarray, fake: np.ndarray, *, k: int = 5, half: bool = False
) -> tuple[float, float]:
    """(density, coverage): as `precision_recall`, less sensitive to outliers.

    density: how many balls of real samples a generated one lies in on average, over k;
    above 1 where generated samples crowd where real ones are dense. coverage: part of
    the real samples whose ball holds a generated one.
    """
    spaces = _Spaces(real, fake, k, half)
    hits, covered = 0, np.zeros(len(spaces.real), bool)
    for rows, distances in spaces.cross():
        inside = distances <= spaces.real_radii[rows, np.newaxis]  # [n, M]
        hits += int(inside.sum())
        covered[rows] = inside.any(axis=1)
    return hits / (k * len(spaces.fake)), float(covered.mean())


class _Spaces:
    """Two sets of features [N, D], [M, D], and the radii of their balls."""

    def __init__(self, real, fake, k, half):
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k!r}.")
        self.k, self.half = k, half
        real = arrays.features("real", real, at_least=k + 1)
        fake = arrays.features("fake", fake, at_least=k + 1, dims=real.shape[1])
        self.real, self.fake = self._rounded(real), self._rounded(fake)
        self.real_radii = self._radii(self.real)
        self.fake_radii = self._radii(self.fake)

    def cross(self):
        """(slice of the real samples, distances [n, M] of these to all generated)."""
        return self._blocks(self.real, self.fake)

    def _radii(self, x):
        radii = np.empty(len(x))
        for rows, distances in self._blocks(x, x):
            # Index k: at 0 is the sample itself.
            radii[rows] = np.partition(distances, self.k, axis=1)[:, self.k]
        return radii

    def _blocks(self, x, y):
        count = max(1, BLOCK // (8 * len(y)))
        with np.errstate(over="ignore"):
            norms = np.square(y).sum(axis=1)
        if not np.isfinite(norms).all():
            raise ValueError("features must have finite squares; got larger ones")
        for start in range(0, len(x), count):
            part = x[start : start + count]
            squared = part @ y.T  # [n, M]
            squared *= -2
            squared += np.square(part).sum(axis=1)[:, np.newaxis]
            squared += norms
            np.maximum(squared, 0, out=squared)
            yield (
                slice(start, start + count),
                self._rounded(np.sqrt(squared, out=squared)),
            )

    def _rounded(self, x):
        if not self.half:
            return x
        with np.errstate(over="ignore"):
            rounded = x.astype(np.float16).astype(np.float64)
        if np.isinf(rounded.max(initial=0)):  # distances would all be equal
            raise ValueError(
                "features and their distances must be below 65520 in float16, got "
                f"{x.max():g}"
            )
        return rounded
