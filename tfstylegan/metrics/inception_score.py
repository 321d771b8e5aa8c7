"""Inception score (Salimans et al. 2016, section 4)."""

import numpy as np

from tfstylegan.metrics import arrays


def inception_score(probs: np.ndarray, *, splits: int = 10) -> tuple[float, float]:
    """(mean, standard deviation) over equal parts of exp(E_x KL(p(y|x) || p(y))).

    probs [N, classes] holds p(y|x) of N generated images in a row each; p(y) is their
    mean within a part. The standard deviation is the population's.

    Raises ValueError where there are fewer rows than parts, where a row is no
    distribution, and for what is not finite.
    """
    probs = arrays.features("probs", probs, at_least=1)
    if not 1 <= splits <= len(probs):
        raise ValueError(f"splits must be 1 to {len(probs)} (rows), got {splits!r}.")
    sums = probs.sum(axis=1)
    off = np.abs(sums - 1).max()
    if probs.min() < 0 or off > 1e-3:
        raise ValueError(
            "probs must be non-negative and sum to 1 in each row, got a least value of "
            f"{probs.min():g} and a sum that is {off:g} off."
        )
    scores = []
    for part in range(splits):
        start, end = (len(probs) * i // splits for i in (part, part + 1))
        p = probs[start:end]  # [n, classes]
        marginal = p.mean(axis=0)
        # 0 log 0 = 0; where p > 0 the marginal is as well.
        logs = np.log(np.where(p > 0, p, 1)) - np.log(np.where(p > 0, marginal, 1))
        scores.append(np.exp((p * logs).sum(axis=1).mean()))
    return float(np.mean(scores)), float(np.std(scores))
