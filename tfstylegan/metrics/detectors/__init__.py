"""What metrics see images with: one file a network.

Modules are imported as they are asked for: most need TensorFlow, some large files.
"""


class Unavailable(Exception):
    """A detector cannot be had here: its file is not there. Tells which, and whence."""


class Detectors:
    """name -> detector, each made once.

    Args:
      image_shape: (H, W, C) of all images.
      labelled: () -> a `data.sources.Source` whose labels a classifier learns.
      folder: folder of the classifiers' weights.
      discriminator: the network behind the detector of this name, or None.
    """

    def __init__(self, image_shape, *, labelled, folder, discriminator=None):
        self._image_shape = image_shape
        self._labelled = labelled
        self._folder = folder
        self._network = discriminator
        self._made = {}

    def __call__(self, name):
        """Raises Unavailable, and ValueError for data that a detector cannot take."""
        if name not in self._made:
            make = getattr(self, f"_{name}", None)
            if make is None:
                raise Unavailable(f"there is no detector {name!r} here")
            self._made[name] = make()
        return self._made[name]

    def _pixels(self):
        from tfstylegan.metrics import features

        return features.PixelProjection(self._image_shape)

    def _classifier(self):
        from tfstylegan.metrics.detectors import classifier

        return classifier.of_source(self._labelled(), self._folder)

    def _discriminator(self):
        from tfstylegan.metrics.detectors import discriminator

        if self._network is None:
            raise Unavailable("the model has no discriminator")
        return discriminator.Discriminator(self._network)
