"""Path length regularisation of G as training does it (StyleGAN2, section 3.2).

The running mean that lengths are compared with moves by the mean of the global batch,
and the gradient flows through that too. One of several rounds does not know this mean:
a first pass measures all lengths, a second one follows the slopes of the penalty.
"""

import tensorflow as tf

from tfstylegan import losses
from tfstylegan.training import accumulation, finite, loss_scale, replicas, tapes
from tfstylegan.training import draws as draws_lib


class PathLength:
    """The weighted penalty of a `state.State`'s generator.

    Both methods move w_avg and the mean length, and return scalars as well. Labels are
    [n, T] of this replica.

    Args:
      state: a `state.State`.
      config: a `config.Config`.
      draws: a `draws.Draws`.
      batch_size: samples that it looks at, on all replicas.
    """

    def __init__(self, state, config, draws, batch_size):
        self.state = state
        self.config = config
        self.draws = draws
        self.batch_size = batch_size

    def penalty(self, labels, step):
        """The penalty, a scalar for the tape that it is called under."""
        measure = self._measure(labels, step)
        lengths, ws = measure(lambda x: x)
        penalty, pl_mean = losses.path_length_penalty(
            lengths, self.state.pl_mean, self.config.loss.pl_decay, replicas.global_mean
        )
        self._track(ws, pl_mean)
        return self._weighted(penalty), _scalars(lengths, penalty)

    def gradients(self, labels, step, rounds):
        """Gradients of the penalty, in several rounds."""
        g, decay = self.state.g, self.config.loss.pl_decay
        measure, moving = self._measure(labels, step), tapes.moving(g)

        def look(part):
            lengths, ws = measure(part)
            return [], {"lengths": lengths, "ws": ws}

        _, seen = accumulation.accumulate(look, rounds, [], moving)
        lengths = seen["lengths"]
        mean = replicas.global_mean(lengths)
        penalty, pl_mean = losses.path_length_penalty(
            lengths, self.state.pl_mean, decay, lambda _: mean
        )
        slopes = losses.path_length_slopes(lengths, mean, pl_mean, decay)

        def follow(part):
            with tapes.tape(g) as tape:
                total = self._weighted(part(slopes) * measure(part)[0])
            gradients = tapes.gradients(tape, total, g, self.state.g_optimizer)
            return gradients, {"total": total}

        weights = tapes.weights(g)
        gradients, _ = accumulation.accumulate(follow, rounds, weights, moving)
        self._track(seen["ws"], pl_mean)
        return gradients, _scalars(lengths, penalty)

    def _measure(self, labels, step):
        """Function of a round's `part` to its lengths [n] and unmixed ws [n, L, D]."""
        g, config = self.state.g, self.config
        count = self.batch_size
        labels = labels[: labels.shape[0] // config.loss.pl_batch_shrink]
        labels = labels if self.state.d.label_dim else None
        shape = [count, *config.data.image_size, config.data.channels]
        direction = self.draws.normal("g_reg/direction", step, shape)
        drawn = self.draws.latents("g_reg", step, count)

        def measure(part):
            mixed, ws, noise = draws_lib.styles(g.mapping, drawn, labels, part)
            lengths = losses.path_lengths(
                lambda ws: g.synthesis(ws, noise=noise, training=True),
                mixed,
                part(direction),
                loss_scale.gradient_scale(config),
            )  # [n]
            return lengths, ws

        return measure

    def _weighted(self, penalty):
        return tf.reduce_sum(penalty) * self.config.loss.pl_weight / self.batch_size

    def _track(self, ws, pl_mean):
        self.state.g.track_w_avg(ws)
        self.state.pl_mean.assign(finite.or_else(pl_mean, self.state.pl_mean))


def _scalars(lengths, penalty):
    return {
        "reg/path_length": tf.reduce_mean(lengths),
        "reg/path_length_penalty": tf.reduce_mean(penalty),
    }
