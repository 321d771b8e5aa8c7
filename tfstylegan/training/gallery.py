"""What a run shows of its networks: pictures, metrics, measures, histograms."""

import numpy as np

from tfstylegan import cache, image_streams, metric_names, sampling, spreading
from tfstylegan.data import pipeline, sources
from tfstylegan.metrics import detectors, reals, resolution_usage, suite
from tfstylegan.training import hints

SEED = 0  # the same latents in every run and at every tick
MIXED = 4  # rows and columns of the style-mixing grid
USAGE_IMAGES = 64  # that the use of resolutions is measured on


class Gallery:
    """Views of the averaged generator, each a function of cur_nimg.

    Each does what has not been told of yet; some give {name: scalar} for `hints`.

    Args:
      config: a `config.Config`.
      source: the real images.
      generator: the averaged one.
      report: a `report.Report`.
      best: a `best.Best`, which is offered what the first metric was computed of.
      devices: names of the devices that metrics are computed on, side by side.
    """

    def __init__(self, config, source, generator, report, best, devices=()):
        self.config = config
        self.source = source
        self.generator = generator
        self.report = report
        self.best = best
        self.devices = spreading.Devices(devices)
        self.images = None
        self._real_std = None
        self.suite = self._suite()
        self.retrace()

    def retrace(self):
        """For a generator that has other blocks in use than it had so far."""
        labels = self.source.labels if self.config.data.labels else None
        self.images = image_streams.ImageSource(  # traced once
            self.generator, labels, devices=self.devices
        )

    @property
    def views(self):
        """What is shown before the first and after the last step."""
        return [self.pictures, self.metrics]

    def reals(self, cur_nimg):
        """A grid of real images."""
        _, columns = self.config.train.grid
        self.report.picture("reals", self._reals(), columns, cur_nimg)

    def _reals(self):
        rows, columns = self.config.train.grid
        return next(pipeline.real_images(self.source, rows * columns, seed=SEED))

    def pictures(self, cur_nimg):
        """Samples at fixed latents, and a style-mixing grid; {name: measure}."""
        if self.report.has("hint/variety", cur_nimg):
            return {}
        g, (rows, columns) = self.generator, self.config.train.grid
        z = sampling.latents(range(rows * columns), g.mapping.z_dim)
        labels = sampling.cycle_labels(len(z), g.mapping.label_dim)
        images = sampling.render(g, z, labels, noise_mode="const")
        fakes = sampling.to_uint8(images)
        self.report.picture("fakes", fakes, columns, cur_nimg)
        z = sampling.latents(range(2 * MIXED), g.mapping.z_dim)
        mixed = sampling.style_mixing(
            g,
            z[:MIXED],
            z[MIXED:],
            layers=range(g.layers_in_use // 2),
            row_labels=sampling.cycle_labels(MIXED, g.mapping.label_dim),
            noise_mode="const",
        )
        self.report.picture(
            "style_mixing", sampling.to_uint8(mixed), 1 + MIXED, cur_nimg
        )
        return self._measure(fakes, cur_nimg)

    def _measure(self, fakes, cur_nimg):
        """Tells how varied images are, and which resolutions they are made of."""
        if self._real_std is None:
            self._real_std = _std(self._reals())
        told = {"hint/variety": hints.variety(_std(fakes), self._real_std)}
        label_dim = self.generator.mapping.label_dim
        usage = resolution_usage.resolution_usage(
            self.generator,
            sampling.cycle_labels(label_dim, label_dim),
            num_images=USAGE_IMAGES,
            seed=SEED,
        )
        for height, part in (usage or {}).items():
            told[f"usage/resolution_{height}"] = part
        self.report.scalars(told, cur_nimg)
        return told

    def metrics(self, cur_nimg):
        """The metrics of the configuration."""
        for name in self.config.train.metrics:
            if self.report.has(f"metric/{metric_names.first_value(name)}", cur_nimg):
                continue
            try:
                result = self.suite.compute(
                    name,
                    self.images,
                    num_images=self.config.train.metric_images,
                    seed=SEED,
                )
            except detectors.Unavailable as error:
                self.report.say(f"{name} is left out: {error}")
                continue
            except (ValueError, OSError) as error:  # as of a file with another digest
                self.report.say(f"warning: no {name}: {error}; training goes on")
                continue
            if name == self.config.train.metrics[0]:
                self._offer(name, result["value"], cur_nimg)
            # Only now: what has been told is not done again when a run goes on.
            self.report.metrics(result, cur_nimg)

    def _offer(self, name, value, cur_nimg):
        try:
            if self.best.offer(name, value, cur_nimg):
                self.report.say(f"kimg {cur_nimg / 1000:<8g} is among the best: kept")
        except OSError as error:
            self.report.say(f"warning: {error}; training goes on without this model")

    def _suite(self):
        folder, data = cache.folder() / "metrics", self.config.data
        known = detectors.Detectors(
            self.source.image_shape,
            labelled=self._labelled,
            folder=folder,
            files=self.config.train.detector_dir or None,
        )
        mirrored = reals.Reals(self.source, mirror=data.mirror, folder=folder)
        return suite.Suite(mirrored, known)

    def _labelled(self):
        """The real images with their labels, also where the networks take none."""
        data = self.config.data
        if data.labels:
            return self.source
        height, width = data.image_size
        return sources.open_source(
            data.source,
            height=height,
            width=width,
            channels=data.channels,
            max_images=data.max_images,
            skip_corrupt=data.skip_corrupt,
            cache_bytes=data.cache_mib << 20,
        )

    def histograms(self, logits, networks):
        """{name: values} of the logits of one step and of all weights."""
        histograms = {name: np.asarray(values) for name, values in logits.items()}
        for network in networks:
            for variable in network.trainable_variables:
                histograms[f"weights/{variable.path}"] = variable.numpy()
        return histograms


def _std(images):
    """Standard deviation over images [N, H, W, C], mean over what they consist of."""
    return float(np.mean(np.std(images.astype(np.float32), axis=0)))
