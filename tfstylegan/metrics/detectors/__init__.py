"""What metrics see images with: one file a network.

Published networks have `load(where, download)` and are read from files; a file that is
not to be had is `Unavailable`. Modules are imported as they are asked for: most need
TensorFlow, some large files.
"""

import importlib

from tfstylegan.metrics.detectors import files

Unavailable = files.Unavailable
PUBLISHED = ("inception", "vgg16", "lpips", "celebahq")


class Detectors:
    """name -> detector, each made once.

    A detector has a `manifest`, a dict fit for JSON that tells which files or data it
    is made of, and what it computes: `features`, `probabilities`, `distance` or
    `attributes`, see `suite.Suite`.

    Args:
      image_shape: (H, W, C) of all images.
      labelled: () -> a `data.sources.Source` whose labels a classifier learns.
      folder: folder of the classifiers' weights.
      files: folder of the published networks' files, or None.
      download: whether to download them where they are not there.
      discriminator: the network behind the detector of this name, or None.
    """

    def __init__(
        self,
        image_shape,
        *,
        labelled,
        folder,
        files=None,
        download=False,
        discriminator=None,
    ):
        self._image_shape = image_shape
        self._labelled = labelled
        self._folder = folder
        self._files = {"where": files, "download": download}
        self._network = discriminator
        self._made = {}

    def __call__(self, name):
        """Raises Unavailable, and ValueError for data that a detector cannot take."""
        if name not in self._made:
            self._made[name] = self._make(name)
        return self._made[name]

    def _make(self, name):
        if name in PUBLISHED:
            module = importlib.import_module(f"{__name__}.{name}")
            return module.load(**self._files)
        if name == "pixels":
            from tfstylegan.metrics import features

            return features.PixelProjection(self._image_shape)
        if name == "classifier":
            from tfstylegan.metrics.detectors import classifier

            return classifier.of_source(self._labelled(), self._folder)
        if name == "discriminator":
            from tfstylegan.metrics.detectors import discriminator

            if self._network is None:
                raise Unavailable("the model has no discriminator")
            return discriminator.Discriminator(self._network)
        raise ValueError(f"there is no detector {name!r}")
