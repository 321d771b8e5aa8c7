"""Precision, recall, density and coverage."""

import numpy as np
import prdc
import pytest

from tfstylegan.metrics import precision_recall as pr


@pytest.mark.parametrize("k", [3, 5])
@pytest.mark.parametrize("case", ["f0", "f2"])
def test_precision_recall_golden(golden, case, k):
    arrays = golden("metrics")
    real, fake = arrays[f"{case}/real"], arrays[f"{case}/gen"]
    expected = arrays["meta"]["results"][case]
    for half, name in ((False, "f64"), (True, "fp16")):
        values = pr.precision_recall(real, fake, k=k, half=half)
        for value, which in zip(values, ("precision", "recall"), strict=True):
            assert value == pytest.approx(expected[f"{which}_k{k}_{name}"], rel=1e-6)
    expected = expected[f"prdc_k{k}"]
    values = pr.density_coverage(real, fake, k=k)
    assert values == pytest.approx((expected["density"], expected["coverage"]))


@pytest.mark.parametrize("k", [1, 4])
def test_four_values_agree_with_the_prdc_package(k, monkeypatch):
    monkeypatch.setattr(pr, "BLOCK", 8 * 60 * 7)  # 7 rows in a block
    real, fake = np.random.standard_normal([80, 6]), np.random.standard_cauchy([60, 6])
    expected = prdc.compute_prdc(real, fake, nearest_k=k)
    values = (
        *pr.precision_recall(real, fake, k=k),
        *pr.density_coverage(real, fake, k=k),
    )
    names = ("precision", "recall", "density", "coverage")
    assert values == pytest.approx([expected[name] for name in names])
    assert 0 < values[0] < 1 and 0 < values[3] < 1


def test_identical_sets_are_covered():
    x = np.random.standard_normal([200, 300]) + 100
    assert pr.precision_recall(x, x) == (1, 1)
    density, coverage = pr.density_coverage(x, x)
    assert coverage == 1 and density == pytest.approx(1, abs=0.35)


def test_sets_apart_do_not_meet():
    x = np.random.standard_normal([50, 8])
    assert pr.precision_recall(x, x + 1000) == (0, 0)
    assert pr.density_coverage(x, x + 1000) == (0, 0)


def test_copies_of_one_image():
    """Precise, but of no recall but for that image itself."""
    real = np.random.standard_normal([30, 8])
    fake = np.repeat(real[:1], 30, axis=0)
    assert pr.precision_recall(real, fake) == (1, 1 / 30)
    assert pr.density_coverage(real, fake)[1] < 0.5


@pytest.mark.parametrize("function", [pr.precision_recall, pr.density_coverage])
def test_manifolds_refuse_what_has_no_neighbours(function):
    x = np.zeros([4, 2])
    with pytest.raises(ValueError, match="real must have at least 4 rows, got 3"):
        function(x[:3], x, k=3)
    with pytest.raises(ValueError, match=r"fake must be \[N, 2\], got \[4, 1\]"):
        function(x, x[:, :1], k=3)
    with pytest.raises(ValueError, match="fake must be finite.*1 of 4 rows"):
        function(x, np.array([[0, 0], [0, np.inf], [0, 0], [0, 0]]), k=3)
    with pytest.raises(ValueError, match="features must have finite squares"):
        function(x, x + 1e200, k=3)
    for large in (x + 1e5, np.float64([[0, 0], [5e4, 5e4], [0, 0], [0, 0]])):
        with pytest.raises(ValueError, match="below 65520 in float16, got"):
            function(x, large, k=3, half=True)
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        function(x, x, k=0)
