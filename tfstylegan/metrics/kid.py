"""Kernel inception distance (Binkowski et al. 2018, section 4)."""

import numpy as np

from tfstylegan.metrics import arrays


def kernel_distance(
    real: np.ndarray,
    fake: np.ndarray,
    *,
    subsets: int = 100,
    subset_size: int = 1000,
    seed: int = 0,
) -> float:
    """Squared maximum mean discrepancy of two feature sets, averaged over subsets.

    With the kernel k(x, y) = (x . y / D + 1)^3 and m samples of each set,

    [sum_{i != j} k(x_i, x_j) + k(y_i, y_j)] / (m (m - 1)) - 2 mean_{i, j} k(x_i, y_j)

    is unbiased: its expectation does not depend on m, and it may be below 0. Of a set
    and itself it is, by 2 / m of what k(x, x) is above k of two different samples.

    Features [N, D] and [M, D]. `subsets` times m = min(subset_size, N, M) generated,
    then m real ones are drawn without replacement by NumPy's RandomState(seed); where
    m is all of both, one subset says it all.

    Raises ValueError for fewer than 2 rows, other shapes and what is not finite, or is
    not once it is multiplied.
    """
    real = arrays.features("real", real, at_least=2)
    fake = arrays.features("fake", fake, at_least=2, dims=real.shape[1])
    if subsets < 1:
        raise ValueError(f"subsets must be at least 1, got {subsets!r}.")
    if subset_size < 2:
        raise ValueError(f"subset_size must be at least 2, got {subset_size!r}.")
    size = min(subset_size, len(real), len(fake))
    if size == len(real) == len(fake):
        return _unbiased(real, fake)
    draw = np.random.RandomState(seed)
    values = []
    for _ in range(subsets):
        y = fake[draw.choice(len(fake), size, replace=False)]
        x = real[draw.choice(len(real), size, replace=False)]
        values.append(_unbiased(x, y))
    return float(np.mean(values))


def _unbiased(x, y):
    m = len(x)
    with np.errstate(over="ignore", invalid="ignore"):  # it is told
        xx, yy, xy = _kernel(x, x), _kernel(y, y), _kernel(x, y)  # [m, m] each
        within = xx.sum() - np.trace(xx) + yy.sum() - np.trace(yy)
        value = float(within / (m * (m - 1)) - 2 * xy.mean())
    if not np.isfinite(value):
        raise ValueError("features must have finite cubes of products; got larger ones")
    return value


def _kernel(x, y):
    return (x @ y.T / x.shape[1] + 1) ** 3
