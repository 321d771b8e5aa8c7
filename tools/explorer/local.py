"""Images of a model directory or workdir: everything that the page can do."""

import numpy as np

from explorer import view as views
from tfstylegan import sampling
from tfstylegan.data import images as images_lib
from tfstylegan.latents import codes as codes_lib
from tfstylegan.latents import finding, noise, rendering, statistics

WAY = "Along the straight line from A to B in w."


class LocalModel:
    """A generator in this process.

    Args:
      networks: `Networks` with a G_ema.
      title: what the page calls it.

    What the page asks of any model: `title`, `kind`, `generator` (of which files are
    checked to be), `label_dim`, `psi`, `size` (height, width), `layer_names`,
    `noise_levels` and `noise_kinds`, `way` (a sentence), `missing` {part of the page:
    sentence why it is not there}, `image`, `codes` and `sample_w`.
    """

    kind = "model directory"
    way = WAY

    def __init__(self, networks, title):
        self.title = title
        self.networks = networks
        self.generator = g = networks.G_ema
        self.psi, self.cutoff = networks.config.generator.truncation()
        self.label_dim = g.mapping.label_dim
        self.size = g.synthesis.sizes[-1]
        self.layer_names = layer_names(g.mapping.num_ws, g.synthesis.sizes)
        heights = [f"{h}x{w}" for h, w in g.synthesis.noise_sizes]
        self.noise_levels = list(dict.fromkeys(heights))
        self._level_of = [self.noise_levels.index(x) for x in heights]
        self.noise_kinds = (views.OWN, views.RANDOM, views.OFF)
        self.missing = {}
        if not heights:
            self.missing["noise"] = "This model has no noise inputs."
        if g.synthesis.channels not in images_lib.MODES:
            self.missing["projection"] = (
                f"This model's images have {g.synthesis.channels} channels; files of "
                "images have 1, 3 or 4."
            )
        self._render = rendering.Renderer(g)

    def image(self, view, directions=None):
        """uint8 [H, W, C]."""
        return sampling.to_uint8(self._render.codes(self.codes(view, directions)))[0]

    def codes(self, view, directions=None):
        """`Codes` of the image, with its noise where it is not the model's."""
        ws = self._source(view)
        if view.uses_other:
            other = self._seed(view.other_seed, view)
            ws = ws + (other - ws) * np.float32(view.way)
            ws = sampling.take_layers(ws, other, view.layers).numpy()
        for index, strength in view.moves:
            ws = directions.moved(ws, index, strength, view.moved)
        return codes_lib.Codes(
            ws=ws, names=[view.name], noise=self._noise(view), about=view.about()
        )

    def sample_w(self, count):
        """w [N, D] of random z."""
        return statistics.sample_w(self.generator, count)

    def factorised(self, count, samples):
        """`Directions` of the style weights of all layers (SeFa)."""
        layers = range(self.generator.mapping.num_ws)
        w = self.sample_w(samples)
        return finding.factorised(self.generator, layers, w, count)

    def _source(self, view):
        return self._seed(view.seed, view) if view.code is None else view.code.ws

    def _seed(self, seed, view):
        labels = condition(view.label, self.label_dim)
        truncation = {"psi": view.psi, "cutoff": self.cutoff}
        return codes_lib.of_seeds(self.generator, [seed], labels, **truncation).ws

    def _noise(self, view):
        """Maps [1, h, w, 1] for each noise input; None where all are the model's.

        What is off is a map of zeros, not None: the network is traced once.
        """
        own = None if view.code is None else view.code.noise
        if all(x.kind == views.OWN for x in view.noise):
            return own
        maps = list(own or self._render.fixed_noise)
        drawn = {
            x.number: noise.realisation(self.generator, x.number)
            for x in view.noise
            if x.kind == views.RANDOM
        }
        for i, level in enumerate(self._level_of):
            wanted = view.noise[level]
            if wanted.kind == views.OFF:
                maps[i] = np.zeros_like(maps[i])
            elif wanted.kind == views.RANDOM and i < len(drawn[wanted.number]):
                maps[i] = drawn[wanted.number][i]
        return maps


def layer_names(count, sizes):
    """Names of w layers, two a resolution: "0 (4x4)", ..."""
    return [f"{i} ({sizes[i // 2][0]}x{sizes[i // 2][1]})" for i in range(count)]


def condition(label, label_dim):
    """Labels [1, T] of a class; None for an unconditional model."""
    if not label_dim:
        return None
    if not isinstance(label, int) or not 0 <= label < label_dim:
        raise ValueError(f"the class must be from 0 to {label_dim - 1}; got {label!r}")
    return np.eye(label_dim, dtype=np.float32)[[label]]
