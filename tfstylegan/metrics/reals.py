"""What metrics know of the real images, computed once for each set of circumstances."""

import hashlib
import json
import pathlib

import numpy as np

from tfstylegan import cache
from tfstylegan.data import pipeline
from tfstylegan.metrics import features, progress

SEED = 0  # coins of the mirrored real images
VERSION = 1  # of what is cached; to be raised when its computation changes


class Reals:
    """Features of real images and their statistics, kept in a cache folder.

    Args:
      source: a `data.sources.Source`; its fingerprint is part of a cache file's name.
      mirror: whether half of the images are flipped, as in training.
      folder: of what is kept, None to compute everything anew.
      watch: one of `progress`.
    """

    def __init__(self, source, *, mirror=False, folder=None, watch=progress.silent):
        self.source = source
        self._watch = watch
        self.mirror = mirror
        self._folder = None if folder is None else pathlib.Path(folder)

    def count(self, metric):
        """How many real images a `metric_names.Metric` looks at."""
        everything = metric.full or metric.kind == "pixel_frechet"
        return len(self.source) if everything else min(len(self.source), metric.count)

    def mirrored(self, metric):
        """Whether it sees them mirrored: published metrics of all images do not."""
        return self.mirror and not metric.full

    def images(self, metric):
        """Batches uint8 [n, H, W, C] of them."""
        count, mirror = self.count(metric), self.mirrored(metric)
        images = pipeline.real_images(self.source, count, seed=SEED, mirror=mirror)
        return self._watch(images, title=f"{metric.name}: real images", total=count)

    def statistics(self, metric, detector, devices):
        """`features.RunningStatistics` of their features, seen on `devices`."""

        def compute():
            statistics = features.RunningStatistics(detector.dims, block=features.BLOCK)
            for batch in devices.map(detector.features, self.images(metric)):
                statistics.update(batch)
            return statistics.state()

        state = self._cached("statistics", metric, detector, compute)
        return features.RunningStatistics.of(**state)

    def features(self, metric, detector, devices):
        """Their features [N, D], seen on `devices`, a `spreading.Devices`."""

        def compute():
            parts = devices.map(detector.features, self.images(metric))
            return {"x": np.concatenate(list(parts))}

        return self._cached("features", metric, detector, compute)["x"]

    def _cached(self, what, metric, detector, compute):
        """Arrays by name; a file that cannot be read is made anew."""
        if self._folder is None:
            return compute()
        circumstances = {
            "what": what,
            "version": VERSION,
            "data": self.source.fingerprint,
            "images": self.count(metric),
            "mirror": self.mirrored(metric),
            "detector": detector.manifest,
        }
        text = json.dumps(circumstances, sort_keys=True)
        name = hashlib.sha256(text.encode()).hexdigest()[:32]
        file = self._folder / f"{name}.npz"
        arrays = cache.load(file)
        if arrays is None:
            arrays = compute()
            cache.store(file, arrays)
        return arrays
