"""The metrics by name, each with the circumstances of its numbers."""

import functools

import numpy as np

import tfstylegan
from tfstylegan import metric_names, ops
from tfstylegan.metrics import (
    detectors,
    features,
    fid,
    inception_score,
    kid,
    ppl,
    precision_recall,
    progress,
    resolution_usage,
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
      watch: one of `progress`, for what is generated.
    """

    def __init__(self, reals, detectors, *, watch=progress.silent):
        self.reals = reals
        self.detectors = detectors
        self.watch = watch

    def compute(self, name, model, *, num_images, seed=0):
        """One metric of one generator.

        Args:
          name: as `metric_names.parse` reads it.
          model: one of `image_streams`, on whose devices images are also seen.
          num_images: generated images where the name says no number.
          seed: of the generated images.

        Returns: a dict fit for JSON: metric, value, values (all numbers of the metric
          by name, `value` the first of them) and what they were computed from.

        Raises `detectors.Unavailable` where a file is missing, or the model is not one
        that the metric is defined for.
        """
        run = self._run(name, model, num_images, seed)
        return run.told(*MEASURES[run.metric.kind](run))

    def single_lengths(self, name, model, *, seed=0):
        """What a metric of path ends in w says of single images (StyleGAN2, figure 5).

        Returns: (the same as `compute`, arrays by name): "lengths" [N], the paths that
          begin with an image, and "z" [N, Z], "labels" [N, T] if there are, and "keys"
          [N, 2], of which that image can be made again, as
          model.synthesis(model.mapping(z, labels), key).
        """
        metric = metric_names.parse(name)
        if metric.kind != "ppl" or metric.space != "w" or not metric.ends:
            raise ValueError(
                f"metric {name!r} tells nothing of single images: take one as ppl2_wend"
            )
        run = self._run(name, model, None, seed)
        arrays = {"lengths": [], "z": [], "labels": [], "keys": []}
        for lengths, z, labels, key in run.paths():
            arrays["lengths"].append(lengths)
            arrays["z"].append(z)
            arrays["keys"].append(np.tile(np.asarray(key), [len(z), 1]))
            if labels is not None:
                arrays["labels"].append(labels)
        arrays = {key: np.concatenate(x) for key, x in arrays.items() if x}
        return run.told(*_length(run, arrays["lengths"])), arrays

    def _run(self, name, model, num_images, seed):
        metric = metric_names.parse(name)
        if not hasattr(model, ASKS.get(metric.kind, "stream")):
            raise detectors.Unavailable("it needs the networks, not a SavedModel")
        detector = self.detectors(metric.detector) if metric.detector else None
        if detector and not hasattr(detector, metric.needs):
            raise ValueError(
                f"metric {name!r} needs {metric.needs}, and the detector "
                f"{metric.detector} has none"
            )
        count = metric.count or num_images
        return _Run(metric, self.reals, detector, model, count, seed, self.watch)


class _Run:
    """One metric of one generator; what its measure asks for."""

    def __init__(self, metric, reals, detector, model, count, seed, watch):
        self.metric, self.reals, self.detector = metric, reals, detector
        self.model, self.count, self.seed = model, count, seed
        title = f"{metric.name}: generated images"
        self.watch = functools.partial(watch, title=title, total=count)

    def told(self, values, about):
        """What `Suite.compute` returns."""
        name, (first, *_) = self.metric.name, values.values()
        return {
            "metric": name,
            "value": first,
            "values": {f"{name}{suffix}": value for suffix, value in values.items()},
            **about,
            "data": self.reals and self.reals.source.fingerprint,
            "seed": self.seed,
            **self.model.manifest,
            "detector": self.detector and self.detector.manifest,
            "ops": ops.library.describe(),
            "version": tfstylegan.__version__,
        }

    def fakes(self):
        """Batches of generated images, uint8 [n, H, W, C]."""
        generate = self.model.stream(self.seed)
        for start in range(0, self.count, BATCH):
            yield generate(min(BATCH, self.count - start))

    def seen(self, function):
        """What a detector's function gives of each of these batches."""
        return self.watch(self.model.devices.map(function, self.fakes()))

    def fake_features(self):
        return np.concatenate(list(self.seen(self.detector.features)))

    def real_features(self):
        return self.reals.features(self.metric, self.detector, self.model.devices)

    def paths(self):
        """As `ppl.random_paths`."""
        paths = ppl.random_paths(
            self.model,
            self.detector.distance,
            count=self.count,
            seed=self.seed,
            space=self.metric.space,
            ends=self.metric.ends,
            crop=self.metric.crop,
        )
        return self.watch(paths, size=_rows)

    def about_images(self):
        """Which images were looked at, where real ones are."""
        return {
            "num_real": self.reals.count(self.metric),
            "num_fake": self.count,
            "mirror": self.reals.mirrored(self.metric),
        }


def _rows(batch):
    """Of the first array of a batch of several."""
    return len(batch[0])


def _frechet(run):
    """Covariances are unbiased, those of `_full` the population's: as published."""
    ddof = 0 if run.metric.full else 1
    real = run.reals.statistics(run.metric, run.detector, run.model.devices)
    fake = features.RunningStatistics(run.detector.dims, block=features.BLOCK)
    for batch in run.seen(run.detector.features):
        fake.update(batch)
    value = fid.frechet_distance(
        real.mean, real.covariance(ddof=ddof), fake.mean, fake.covariance(ddof=ddof)
    )
    return {"": value}, run.about_images() | {"ddof": ddof}


def _kernel(run):
    value = kid.kernel_distance(run.real_features(), run.fake_features())
    return {"": value}, run.about_images() | {"subsets": 100, "subset_size": 1000}


def _inception_score(run):
    probabilities = np.concatenate(list(run.seen(run.detector.probabilities)))
    splits = min(10, run.count)
    mean, std = inception_score.inception_score(probabilities, splits=splits)
    return {"_mean": mean, "_std": std}, {"num_fake": run.count, "splits": splits}


def _precision_recall(run):
    return _manifolds(run, precision_recall.precision_recall, ("_precision", "_recall"))


def _density_coverage(run):
    return _manifolds(run, precision_recall.density_coverage, ("_density", "_coverage"))


def _manifolds(run, function, names):
    half = run.detector.manifest["detector"] == "vgg16"  # as the published numbers
    real = run.real_features()
    values = function(real, run.fake_features(), k=run.metric.k, half=half)
    about = run.about_images() | {"k": run.metric.k, "float16": half}
    return dict(zip(names, values, strict=True)), about


def _path_length(run):
    return _length(run, np.concatenate([lengths for lengths, *_ in run.paths()]))


def _length(run, lengths):
    about = {"space": run.metric.space, "crop": run.metric.crop}
    about["downscale"] = f"means of squares, towards {ppl.SIDE} rows"
    return {"": ppl.mean_length(lengths)}, {"num_pairs": run.count, **about}


def _separability(run):
    size = run.model.batch_size

    def classified(number):
        codes, labels, key = run.model.codes(run.seed, number)
        ws = run.model.mapping(codes, labels)
        attributes = run.detector.attributes(run.model.synthesis(ws, key))
        n = min(size, run.count - number * size)
        return codes[:n], ws[:n, -1], attributes[:, :n]

    batches = run.model.devices.map(classified, range(-(-run.count // size)))
    z, w, attributes = zip(*run.watch(batches, size=_rows))
    probabilities = np.concatenate(attributes, axis=1)
    scores = {
        suffix: separability.separability_score(np.concatenate(codes), probabilities)
        for suffix, codes in (("_w", w), ("_z", z))
    }
    return scores, {"num_fake": run.count}


def _resolution_usage(run):
    usage = resolution_usage.resolution_usage(
        run.model.generator,
        run.model.condition(run.seed, 0, run.count),
        num_images=run.count,
        seed=run.seed,
        mapping=run.model.mapping,
        watch=run.watch,
    )
    if usage is None:
        raise detectors.Unavailable(
            "only a generator with output skips has images of single resolutions"
        )
    *_, finest = usage.values()
    parts = {f"_{height}": part for height, part in usage.items()}
    return {"_finest": finest, **parts}, {"num_fake": run.count}


# What a model of networks has and a SavedModel has not.
ASKS = {"ppl": "paths", "ls": "synthesis", "resolution_usage": "generator"}

MEASURES = {
    "pixel_frechet": _frechet,
    "fid": _frechet,
    "kid": _kernel,
    "is": _inception_score,
    "pr": _precision_recall,
    "dc": _density_coverage,
    "ppl": _path_length,
    "ls": _separability,
    "resolution_usage": _resolution_usage,
}
