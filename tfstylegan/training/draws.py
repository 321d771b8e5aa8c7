"""Random numbers of the training steps, drawn for the global batch.

Every replica draws the same and takes its rows: what a sample is made of depends on its
place in the batch, not on how many replicas or rounds there are.
"""

import tensorflow as tf

from tfstylegan import rng
from tfstylegan.networks import generator
from tfstylegan.training import replicas


class Draws:
    """Draws for the generator of a `state.State`, as a `config.Config` asks for."""

    def __init__(self, state, config):
        self.state = state
        self.config = config

    def normal(self, stream, step, shape):
        """This replica's rows of standard normal numbers of a global `shape`."""
        key = rng.seed(self.config.seed, stream, step)
        return replicas.rows(rng.normal(key, shape))

    def latents(self, stream, step, count):
        """This replica's rows of what `count` images are made of, for `styles`."""
        g, probability = self.state.g, self.config.generator.style_mixing_prob
        shape = [count, g.mapping.z_dim]
        drawn = {"z": [self.normal(f"{stream}/z", step, shape)], "cutoff": None}
        if probability:
            drawn["z"].append(self.normal(f"{stream}/z_mixing", step, shape))
            drawn["cutoff"] = self.mixing_cutoff(f"{stream}/cutoff", step, probability)
        key = rng.seed(self.config.seed, f"{stream}/noise", step)
        drawn["noise"] = [replicas.rows(x) for x in g.synthesis.draw_noise(count, key)]
        return drawn

    def mixing_cutoff(self, stream, step, probability):
        """One cutoff for the whole batch: uniform in [1, L) or, unmixed, L."""
        layers = self.state.g.layers_in_use
        key = rng.seed(self.config.seed, stream, step)
        chance, where = tf.unstack(rng.uniform(key, [2]))
        cutoff = 1 + tf.cast(where * (layers - 1), tf.int32)
        return tf.where(chance < probability, cutoff, layers)


def styles(mapping, drawn, labels, part):
    """Mixed ws and unmixed ws [n, L, D] and noise maps of one round's rows.

    mapping: of the generator; labels [N, T] or None and `drawn` (`Draws.latents`) are
    the replica's, of which `part` takes the rows.
    """
    labels = None if labels is None else part(labels)
    ws = mixed = mapping(part(drawn["z"][0]), labels)
    for z in drawn["z"][1:]:
        mixed = generator.mix_styles(ws, mapping(part(z), labels), drawn["cutoff"])
    return mixed, ws, [part(x) for x in drawn["noise"]]
