"""What a run shows of its networks: pictures, metrics and histograms."""

import numpy as np

from tfstylegan import cache, image_streams, sampling
from tfstylegan.data import pipeline
from tfstylegan.metrics import detectors, reals, suite

SEED = 0  # the same latents in every run and at every tick
MIXED = 4  # rows and columns of the style-mixing grid


class Gallery:
    """Views of the averaged generator, each a function of cur_nimg."""

    def __init__(self, config, source, generator, report):
        self.config = config
        self.source = source
        self.generator = generator
        self.report = report
        self.images = None
        self.suite = self._suite()
        self.retrace()

    def retrace(self):
        """For a generator that has other blocks in use than it had so far."""
        labels = self.source.labels if self.config.data.labels else None
        self.images = image_streams.ImageSource(self.generator, labels)  # traced once

    @property
    def views(self):
        """What is shown before the first and after the last step."""
        return [self.pictures, self.metrics]

    def reals(self, cur_nimg):
        """A grid of real images."""
        rows, columns = self.config.train.grid
        real = next(pipeline.real_images(self.source, rows * columns, seed=SEED))
        self.report.picture("reals", real, columns, cur_nimg)

    def pictures(self, cur_nimg):
        """Samples at fixed latents, and a style-mixing grid."""
        g, (rows, columns) = self.generator, self.config.train.grid
        z = sampling.latents(range(rows * columns), g.mapping.z_dim)
        labels = sampling.cycle_labels(len(z), g.mapping.label_dim)
        images = sampling.render(g, z, labels, noise_mode="const")
        self.report.picture("fakes", sampling.to_uint8(images), columns, cur_nimg)
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

    def metrics(self, cur_nimg):
        """The metrics of the configuration."""
        for name in self.config.train.metrics:
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
            for key, value in result["values"].items():
                self.report.metric(key, value, cur_nimg)

    def _suite(self):
        folder, data = cache.folder() / "metrics", self.config.data
        known = detectors.Detectors(
            self.source.image_shape,
            labelled=lambda: self.source,
            folder=folder,
            files=self.config.train.detector_dir or None,
        )
        mirrored = reals.Reals(self.source, mirror=data.mirror, folder=folder)
        return suite.Suite(mirrored, known)

    def histograms(self, logits, networks):
        """{name: values} of the logits of one step and of all weights."""
        histograms = {name: np.asarray(values) for name, values in logits.items()}
        for network in networks:
            for variable in network.trainable_variables:
                histograms[f"weights/{variable.path}"] = variable.numpy()
        return histograms
