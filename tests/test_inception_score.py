"""Inception score."""

import numpy as np
import pytest

from tfstylegan.metrics import inception_score

SCORE = inception_score.inception_score


def test_inception_score_golden(golden):
    arrays = golden("metrics")
    mean, std = SCORE(arrays["is/probs"], splits=10)
    expected = arrays["meta"]["results"]["is"]
    assert mean == pytest.approx(expected["mean"], rel=1e-6)
    assert std == pytest.approx(expected["std"], rel=1e-6)


def test_inception_score_of_known_distributions():
    certain = np.tile(np.eye(7), [20, 1])  # every class as often, each one certain
    assert SCORE(certain, splits=1) == pytest.approx((7, 0))
    assert SCORE(np.full([30, 7], 1 / 7)) == pytest.approx((1, 0))
    # 2 halves: in the first all classes, in the second one class only
    halves = np.concatenate([certain[:70], np.tile(np.eye(7)[:1], [70, 1])])
    assert SCORE(halves, splits=2) == pytest.approx((4, 3))


def test_inception_score_oracle():
    probs = np.random.dirichlet(np.full(4, 0.3), 23)
    scores = []
    for start, end in ((0, 7), (7, 15), (15, 23)):
        part = probs[start:end]
        marginal = [sum(p[c] for p in part) / len(part) for c in range(4)]
        kl = [sum(p[c] * np.log(p[c] / marginal[c]) for c in range(4)) for p in part]
        scores.append(np.exp(sum(kl) / len(part)))
    expected = np.mean(scores), np.std(scores)
    assert SCORE(probs, splits=3) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("probs", "splits", "message"),
    [
        (np.full([5, 2], 0.5), 6, r"splits must be 1 to 5 \(rows\), got 6"),
        (np.full([5, 2], 0.6), 1, "sum that is 0.2 off"),
        (np.array([[1.5, -0.5]]), 1, "a least value of -0.5"),
        (np.array([[np.nan, 1]]), 1, "NaN or infinity in 1 of 1 rows"),
        (np.ones(4), 1, r"probs must be \[N, D\], got \[4\]"),
    ],
)
def test_inception_score_refuses(probs, splits, message):
    with pytest.raises(ValueError, match=message):
        SCORE(probs, splits=splits)
