"""Linear separability of latent codes."""

import numpy as np
import pytest

from tfstylegan.metrics import separability


def certain(classes):
    """Probabilities [1, N, 2] of a classifier that is sure of these classes."""
    return np.eye(2)[np.asarray(classes)][np.newaxis]


def test_separable_codes_score_1():
    latents = np.random.standard_normal([400, 6])
    classes = latents @ np.random.standard_normal(6) > 0
    latents = latents * 10
    probabilities = certain(classes.astype(int))
    score = separability.separability_score(latents, probabilities, keep=1)
    assert score == pytest.approx(1, abs=0.05)


def test_random_classes_score_2_for_each_attribute():
    latents = np.random.standard_normal([4000, 2])
    classes = np.random.randint(2, size=[3, 4000])
    probabilities = np.concatenate([certain(c) for c in classes])
    score = separability.separability_score(latents, probabilities, keep=1)
    nats = sum(np.log(2) for _ in classes)
    assert score == pytest.approx(np.exp(nats), rel=0.02)


def test_only_the_surest_half_counts():
    """The unsure half has random classes, the sure one is separable."""
    latents = np.random.standard_normal([800, 3]) * 5
    classes = (latents[:, 0] > 0).astype(int)
    sure = np.arange(800) % 2 == 0
    classes = np.where(sure, classes, np.random.randint(2, size=800))
    probs = certain(classes) * np.where(sure, 0.98, 0.2)[:, np.newaxis]
    probs += (1 - probs.sum(axis=-1, keepdims=True)) / 2
    half = separability.separability_score(latents, probs)
    everything = separability.separability_score(latents, probs, keep=1)
    assert half == pytest.approx(1, abs=0.05) and everything > 1.5


def test_one_class_is_separated():
    probabilities = certain(np.zeros(20, int))
    latents = np.random.standard_normal([20, 2])
    assert separability.separability_score(latents, probabilities) == 1


def test_conditional_entropy_oracle():
    x, y = [0, 0, 0, 1, 1, 1, 1, 1], [0, 0, 1, 1, 1, 1, 1, 0]
    expected = 3 / 8 * _bits(2 / 3) + 5 / 8 * _bits(4 / 5)
    assert separability.conditional_entropy(x, y) == pytest.approx(expected)
    assert separability.conditional_entropy(y, y) == 0
    with pytest.raises(ValueError, match="got 8 and 2"):
        separability.conditional_entropy(x, [0, 1])


def _bits(p):
    return -p * np.log2(p) - (1 - p) * np.log2(1 - p)


def test_separability_refuses():
    latents = np.zeros([4, 2])
    for probabilities, keep, message in (
        (np.zeros([1, 3, 2]), 0.5, r"must be \[A, 4, 2\], got \[1, 3, 2\]"),
        (np.zeros([1, 4, 2]), 0, r"keep must be in \(0, 1\], got 0"),
        (np.full([1, 4, 2], np.nan), 1, r"probabilities\[0\] must be finite"),
    ):
        with pytest.raises(ValueError, match=message):
            separability.separability_score(latents, probabilities, keep=keep)
