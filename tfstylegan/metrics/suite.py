"""The metrics by name, each with the circumstances of its numbers."""

import numpy as np

import tfstylegan
from tfstylegan import metric_names, ops
from tfstylegan.metrics import (
    features,
    fid,
    inception_score,
    kid,
    ppl,
    precision_recall,
    separability,
)

BATCH = 256  # images that a detector sees at once


class Suite:
    """What is needed to measure any number of generators in the same way.

    Args:
      reals: a `reals.Reals`.
      detectors: name -> an object with `manifest` and what `metric_names.Metric.needs`:
        `features(uint8 [N, H, W, C]) -> [N, dims]` and `dims`,
        `probabilities(uint8 [N, H, W, C]) -> [N, classes]`,
        `distance(a, b) -> [N]` of float images in [0, 255], or
        `attributes(float [N, H, W, C] in [-1, 1]) -> [A, N, 2]`.
    """

    def __init__(self, reals, detectors):
        self.reals = reals
        self.detectors = detectors

    def compute(self, name, model, *, num_images, seed=0):
        """One metric of one generator.

        Args:
          name: as `metric_names.parse` reads it.
          model: a `sampling.ImageSource`.
          num_images: generated images where the name says no number.
          seed: of the generated images.

        Returns: a dict fit for JSON: metric, value, values (all numbers of the metric
          by name, `value` the first of them) and what they were computed from.
        """
        metric = metric_names.parse(name)
        detector = self.detectors(metric.detector)
        if not hasattr(detector, metric.needs):
            raise ValueError(
                f"metric {name!r} needs {metric.needs}, and the detector "
                f"{metric.detector} has none"
            )
        count = metric.count or num_images
        values, about = MEASURES[metric.kind](
            _Run(metric, self.reals, detector, model, count, seed)
        )
        first, *_ = values.values()
        return {
            "metric": name,
            "value": first,
            "values": {f"{name}{suffix}": value for suffix, value in values.items()},
            **about,
            "seed": seed,
            **model.manifest,
            "detector": detector.manifest,
            "ops": ops.library.describe(),
            "version": tfstylegan.__version__,
        }


class _Run:
    """One metric of one generator; what its measure asks for."""

    def __init__(self, metric, reals, detector, model, count, seed):
        self.metric, self.reals, self.detector = metric, reals, detector
        self.model, self.count, self.seed = model, count, seed

    def fakes(self):
        """Batches of generated images, uint8 [n, H, W, C]."""
        generate = self.model.stream(self.seed)
        for start in range(0, self.count, BATCH):
            yield generate(min(BATCH, self.count - start))

    def fake_features(self):
        return np.concatenate([self.detector.features(x) for x in self.fakes()])

    def about_images(self):
        """Which images were looked at, where real ones are."""
        return {
            "num_real": self.reals.count(self.metric),
            "num_fake": self.count,
            "data": self.reals.source.fingerprint,
            "mirror": self.reals.mirrored(self.metric),
        }


def _frechet(run):
    """Covariances are unbiased, those of `_full` the population's: as published."""
    ddof = 0 if run.metric.full else 1
    real = run.reals.statistics(run.metric, run.detector)
    fake = features.RunningStatistics(run.detector.dims, block=features.BLOCK)
    for batch in run.fakes():
        fake.update(run.detector.features(batch))
    value = fid.frechet_distance(
        real.mean, real.covariance(ddof=ddof), fake.mean, fake.covariance(ddof=ddof)
    )
    return {"": value}, run.about_images() | {"ddof": ddof}


def _kernel(run):
    real = run.reals.features(run.metric, run.detector)
    value = kid.kernel_distance(real, run.fake_features())
    return {"": value}, run.about_images() | {"subsets": 100, "subset_size": 1000}


def _inception_score(run):
    probabilities = np.concatenate([run.detector.probabilities(x) for x in run.fakes()])
    splits = min(10, run.count)
    mean, std = inception_score.inception_score(probabilities, splits=splits)
    return {"_mean": mean, "_std": std}, {"num_fake": run.count, "splits": splits}


def _precision_recall(run):
    return _manifolds(run, precision_recall.precision_recall, ("_precision", "_recall"))


def _density_coverage(run):
    return _manifolds(run, precision_recall.density_coverage, ("_density", "_coverage"))


def _manifolds(run, function, names):
    half = run.detector.manifest["detector"] == "vgg16"  # as the published numbers
    real = run.reals.features(run.metric, run.detector)
    values = function(real, run.fake_features(), k=run.metric.k, half=half)
    about = run.about_images() | {"k": run.metric.k, "float16": half}
    return dict(zip(names, values, strict=True)), about


def _path_length(run):
    metric, model, lengths = run.metric, run.model, []
    pairs = max(1, model.batch_size // 2)
    for number, start in enumerate(range(0, run.count, pairs)):
        z0, z1, t, labels, key = model.paths(run.seed, number, pairs)
        lengths.append(
            ppl.path_lengths(
                z0,
                z1,
                np.zeros_like(t) if metric.ends else t,
                mapping=lambda z, labels=labels: model.mapping(z, labels),
                synthesis=lambda ws, key=key: model.synthesis(ws, key),
                distance=run.detector.distance,
                space=metric.space,
                crop=metric.crop,
            )[: run.count - start]
        )
    about = {"num_pairs": run.count, "space": metric.space, "crop": metric.crop}
    return {"": ppl.mean_length(np.concatenate(lengths))}, about


def _separability(run):
    z, w, attributes = [], [], []
    size = run.model.batch_size
    for number, start in enumerate(range(0, run.count, size)):
        n = min(size, run.count - start)
        codes, labels, key = run.model.codes(run.seed, number)
        ws = run.model.mapping(codes, labels)
        images = run.model.synthesis(ws, key)
        z.append(codes[:n])
        w.append(ws[:n, -1])
        attributes.append(run.detector.attributes(images)[:, :n])
    probabilities = np.concatenate(attributes, axis=1)
    scores = {
        suffix: separability.separability_score(np.concatenate(codes), probabilities)
        for suffix, codes in (("_w", w), ("_z", z))
    }
    return scores, {"num_fake": run.count}


# What follows the name in that of the first value, where there are several.
FIRST = {"is": "_mean", "pr": "_precision", "dc": "_density", "ls": "_w"}


def first_value(name):
    """Name of a metric's first value, the one that stands for it."""
    return name + FIRST.get(metric_names.parse(name).kind, "")


MEASURES = {
    "pixel_frechet": _frechet,
    "fid": _frechet,
    "kid": _kernel,
    "is": _inception_score,
    "pr": _precision_recall,
    "dc": _density_coverage,
    "ppl": _path_length,
    "ls": _separability,
}
