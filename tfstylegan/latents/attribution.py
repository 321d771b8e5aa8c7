"""Telling a model's images from others by their projection (StyleGAN2, section 6)."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Attribution:
    """How well distances after projection tell generated images from real ones.

    auc: the probability that a real image is farther than a generated one.
    threshold: the distance up to which an image is taken for generated: where the
      rates of right answers add up to most.
    false, true: ROC curve; the parts of real and of generated images so taken.
    accuracy: mean of the two rates of right answers, at the threshold.
    """

    auc: float
    threshold: float
    false: np.ndarray
    true: np.ndarray
    accuracy: float


def attribute(generated, real):
    """The `Attribution` of distances [N] of generated and [M] of real images.

    Raises ValueError where either is empty or not finite.
    """
    from sklearn import metrics  # takes a second: only when used

    generated, real = (np.asarray(x, np.float64) for x in (generated, real))
    for name, values in (("generated", generated), ("real", real)):
        if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
            raise ValueError(
                f"distances of {name} images must be finite, at least one; got "
                f"{list(values.shape)}"
            )
    ours = np.repeat([1, 0], [len(generated), len(real)])
    nearness = -np.concatenate([generated, real])
    false, true, thresholds = metrics.roc_curve(ours, nearness, drop_intermediate=False)
    best = np.argmax(true - false)
    return Attribution(
        auc=float(metrics.roc_auc_score(ours, nearness)),
        threshold=_between(-thresholds[best], np.concatenate([generated, real])),
        false=false,
        true=true,
        accuracy=float((true[best] + 1 - false[best]) / 2),
    )


def _between(distance, distances):
    """Half way from a distance to the next larger one, so that neither is at the edge.

    Where none at all is best, as the ROC curve begins, it is just below all of them.
    """
    if not np.isfinite(distance):
        return float(np.nextafter(distances.min(), -np.inf))
    larger = distances[distances > distance]
    if not len(larger):
        return float(distance)
    middle = (distance + larger.min()) / 2
    return float(middle if middle < larger.min() else distance)  # next to each other
