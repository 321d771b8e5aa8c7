"""The forty attribute classifiers of CelebA-HQ (Karras et al. 2019, appendix)."""

import pathlib
from collections.abc import Sequence

import numpy as np
from scipy import special

from tfstylegan.metrics.detectors import files, images

COUNT = 40
PATTERN = "celebahq-classifier-{:02d}-*.pkl"
PUBLISHER = "NVIDIA's StyleGAN project, as one of forty that are all needed"
BATCH = 16


def load(where: str | pathlib.Path | None = None, *, download: bool = True):
    """The `Classifiers` of forty pickles in a folder, whose code is never run.

    Each has to be a discriminator as `interop.nvidia` reads them. Where they can be
    downloaded is not known for certain: `download` changes nothing.

    Raises files.Unavailable where one is missing and ValueError for one that is no such
    network.
    """
    from tfstylegan.interop import nvidia  # with the networks, TensorFlow

    found = [_find(number, where, download) for number in range(COUNT)]
    networks = []
    for file in found:
        network, _ = nvidia.import_discriminator(file.path)
        if network.label_dim or network.channels != 3:
            raise ValueError(
                f"{file.path}: a classifier must take images of 3 channels and no "
                f"labels; got {network.channels} channels and labels of width "
                f"{network.label_dim}"
            )
        networks.append(network)
    return Classifiers(networks, [file.manifest for file in found])


class Classifiers:
    """Two-way probabilities of as many attributes as there are networks.

    A classifier may compare the images of a group with each other (minibatch standard
    deviation): groups are of successive images, so that results do not depend on how
    many there are at a time as long as these are multiples of a group.
    """

    name = "celebahq-classifiers"

    def __init__(self, networks: Sequence, found: list[dict]):
        import tensorflow as tf

        sizes = {network.sizes[-1] for network in networks}
        if len(sizes) != 1:
            raise ValueError(f"classifiers must be of one image size, got {sizes}")
        self.size = sizes.pop()
        self.groups = [network.mbstd_group_size or 1 for network in networks]
        self._networks = [tf.function(n, reduce_retracing=True) for n in networks]
        height, width = self.size
        self.manifest = {
            "detector": self.name,
            "files": found,
            "resize": f"means of squares to {height}x{width}",
            "attributes": "softmax of (logit, -logit)",
            "group_sizes": sorted(set(self.groups)),
        }

    def attributes(self, pixels: np.ndarray) -> np.ndarray:
        """Probabilities float32 [A, N, 2] of images [N, H, W, C] in [-1, 1].

        H and W are the classifiers' size, 256, or a multiple of it, from which images
        are averaged down.
        """
        x = self._small(images.numbers("images", pixels))
        logits = [
            _logits(network, x, group)
            for network, group in zip(self._networks, self.groups)
        ]
        logits = np.stack(logits)[..., np.newaxis]  # [A, N, 1]
        return special.softmax(np.concatenate([logits, -logits], axis=2), axis=2)

    def _small(self, x):
        height, width = self.size
        n, rows, columns, _ = x.shape
        factor = rows // height
        if not factor or (rows, columns) != (factor * height, factor * width):
            raise ValueError(
                f"images must be [N, H, W, C] of {height}x{width} or a multiple of it, "
                f"got {list(x.shape)}."
            )
        return x.reshape(n, height, factor, width, factor, 3).mean(axis=(2, 4))


def _logits(network, x, group):
    """[N] of images [N, H, W, C], compared in groups of successive ones."""
    size = group * max(1, BATCH // group)
    parts = []
    for start in range(0, len(x), size):
        part = x[start : start + size]
        whole = len(part) - len(part) % group
        parts += [part[:whole], part[whole:]]
    return np.concatenate(
        [_in_groups(network, part, group) for part in parts if len(part)]
    )


def _in_groups(network, x, group):
    # The members of a group are N / G apart in the network's batch.
    group = min(group, len(x))
    apart = x.reshape(-1, group, *x.shape[1:]).swapaxes(0, 1)  # [G, N / G, H, W, C]
    logits = network(apart.reshape(x.shape)).numpy()  # [N, 1]
    return logits.reshape(group, -1).T.ravel()


def _find(number, where, download):
    pattern = PATTERN.format(number)
    folder = pathlib.Path(where) if where is not None else None
    names = [path.name for path in folder.glob(pattern)] if folder else []
    if len(names) > 1:
        raise ValueError(
            f"{where} must hold one {pattern}; got {', '.join(sorted(names))}"
        )
    wanted = files.Wanted(names=tuple(names) or (pattern,), publisher=PUBLISHER)
    return files.find(wanted, where, download=download)
