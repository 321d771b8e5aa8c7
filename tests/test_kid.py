"""Kernel inception distance."""

import numpy as np
import pytest

from tfstylegan.metrics import kid


@pytest.mark.parametrize("case", ["f0", "f2"])
def test_kernel_distance_golden(golden, case):
    arrays = golden("metrics")
    real, fake = arrays[f"{case}/real"], arrays[f"{case}/gen"]
    expected = arrays["meta"]["results"][case]
    drawn = kid.kernel_distance(real, fake, subsets=10, subset_size=100, seed=7)
    assert drawn == pytest.approx(expected["kid_seed7_subsets10_size100"], rel=1e-6)
    m = expected["kid_m"]
    whole = kid.kernel_distance(real[:m], fake[:m])
    assert whole == pytest.approx(expected["kid_full_first_min_n"], rel=1e-6)


def test_kernel_distance_oracle():
    x, y = np.random.standard_normal([2, 7, 5])

    def k(a, b):
        return (sum(i * j for i, j in zip(a, b, strict=True)) / 5 + 1) ** 3

    within = across = 0
    for i in range(7):
        for j in range(7):
            within += (k(x[i], x[j]) + k(y[i], y[j])) if i != j else 0
            across += k(x[i], y[j])
    expected = within / (7 * 6) - 2 * across / 49
    assert kid.kernel_distance(x, y) == pytest.approx(expected, rel=1e-12)


def test_kernel_distance_is_unbiased():
    """Sets of one distribution are at 0 on average; biased, it would be above."""
    sets = np.random.standard_normal([400, 2, 10, 4])
    values = [kid.kernel_distance(*pair) for pair in sets]
    error = np.std(values) / np.sqrt(len(values))
    assert abs(np.mean(values)) < 4 * error < 0.5


def test_kernel_distance_of_a_set_and_itself():
    """Known, and within 1e-3 of 0 for the published 1000 samples."""
    x = np.abs(np.random.standard_normal([1000, 64])) / 2  # as after a ReLU
    kernel = (x @ x.T / 64 + 1) ** 3
    others = kernel[~np.eye(1000, dtype=bool)].mean()
    expected = -2 / 1000 * (np.diag(kernel).mean() - others)
    value = kid.kernel_distance(x, x)
    assert value == pytest.approx(expected, rel=1e-6) and -1e-3 < value < 0


def test_kernel_distance_draws_without_replacement_and_by_seed():
    real, fake = np.random.standard_normal([2, 50, 3])
    options = {"subsets": 3, "subset_size": 20}
    a, b = (kid.kernel_distance(real, fake, seed=s, **options) for s in (1, 2))
    assert a != b and a == kid.kernel_distance(real, fake, seed=1, **options)
    # Of 50 and of 20 real ones all 20 are in each subset.
    few = kid.kernel_distance(real[:20], fake[:20])
    assert kid.kernel_distance(real[:20], fake[:20], subsets=5) == few


@pytest.mark.parametrize(
    ("real", "options", "message"),
    [
        (np.ones([1, 3]), {}, "real must have at least 2 rows, got 1"),
        (np.ones([5, 2]), {}, r"fake must be \[N, 2\], got \[4, 3\]"),
        (np.full([5, 3], np.nan), {}, "NaN or infinity in 5 of 5 rows"),
        (np.full([5, 3], 1e60), {}, "must have finite cubes of products"),
        (np.ones([5, 3]), {"subsets": 0}, "subsets must be at least 1, got 0"),
        (np.ones([5, 3]), {"subset_size": 1}, "subset_size must be at least 2, got 1"),
    ],
)
def test_kernel_distance_refuses(real, options, message):
    with pytest.raises(ValueError, match=message):
        kid.kernel_distance(real, np.ones([4, 3]), **options)
