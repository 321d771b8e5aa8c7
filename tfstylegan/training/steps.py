"""The four compiled training steps and the moving average (StyleGAN2, appendix B).

A step runs on every replica. Random numbers are drawn for the global batch, and each
replica takes every R-th row (R replicas): a run does not depend on how many there are,
as long as a replica has the samples of a whole minibatch-stddev group (these are R
apart as well).
"""

import contextlib

import tensorflow as tf

from tfstylegan import losses, rng
from tfstylegan.data import pipeline
from tfstylegan.networks import generator
from tfstylegan.training import schedules


def replica_rows(x):
    """This replica's share of a global batch: rows r, r + R, r + 2R, ..."""
    context = tf.distribute.get_replica_context()
    count = context.num_replicas_in_sync
    if count == 1:
        return x
    rows = x[context.replica_id_in_sync_group :: count]
    return tf.ensure_shape(rows, [x.shape[0] // count, *x.shape[1:]])


def replica_order(x, count):
    """Reorders a global batch so that contiguous shares are `replica_rows`."""
    if count == 1:
        return x
    order = tf.reshape(tf.range(x.shape[0]), [-1, count])  # [B / R, R]
    return tf.gather(x, tf.reshape(tf.transpose(order), [-1]))


def global_mean(x):
    """Mean over the samples of all replicas; differentiable."""
    context = tf.distribute.get_replica_context()
    mean = tf.reduce_mean(x)
    if context.num_replicas_in_sync == 1:
        return mean
    return context.all_reduce(tf.distribute.ReduceOp.MEAN, mean)


class Steps:
    """Compiled steps over a `state.State`; each returns named scalars or vectors."""

    def __init__(self, state, config, strategy):
        self.state = state
        self.config = config
        self.strategy = strategy
        self.batch_size = config.train.batch_size
        self.pl_batch_size = self.batch_size // config.loss.pl_batch_shrink

    @tf.function
    def g_main(self, labels, step):
        """Non-saturating loss of G; labels [B, T] of the fake images."""
        return self._run(self._g_main, labels, step)

    @tf.function
    def g_reg(self, labels, step):
        """Path length regularisation of G."""
        return self._run(self._g_reg, labels, step)

    @tf.function
    def d_main(self, images, labels, step):
        """Logistic loss of D; images uint8 [B, H, W, C]."""
        return self._run(self._d_main, images, labels, step)

    @tf.function
    def d_reg(self, images, labels):
        """R1 regularisation of D."""
        return self._run(self._d_reg, images, labels)

    @tf.function
    def ema(self, decay):
        """G_ema <- lerp(G, G_ema, decay); variables that do not train are copied."""
        g, g_ema = self.state.g, self.state.g_ema
        update = self.strategy.extended.update
        pairs = zip(g_ema.trainable_variables, g.trainable_variables, strict=True)
        for average, current in pairs:
            update(average.value, _lerp, args=(current.value, decay), group=True)
        pairs = zip(
            g_ema.non_trainable_variables, g.non_trainable_variables, strict=True
        )
        for average, current in pairs:
            update(average.value, _copy, args=(current.value,), group=True)
        return {}

    def phases(self, batch, step, cur_nimg):
        """Yields (name, function) of the phases of training step `step`, in order.

        G, its lazy regulariser, D, the moving average, D's lazy regulariser. `batch` is
        {"image", "label"} of the global batch; `cur_nimg` counts its images as well.
        Each function returns named scalars, or vectors over the batch.
        """
        loss, train = self.config.loss, self.config.train
        images, labels = batch["image"], batch["label"]
        number = tf.constant(step, tf.int64)
        yield "g_main", lambda: self.g_main(labels, number)
        if loss.pl_weight and step % loss.pl_interval == 0:
            yield "g_reg", lambda: self.g_reg(labels, number)
        yield "d_main", lambda: self.d_main(images, labels, number)
        decay = schedules.ema_decay(
            cur_nimg, train.batch_size, train.ema_halflife_kimg, train.ema_rampup
        )
        yield "ema", lambda: self.ema(tf.constant(decay, tf.float32))
        if loss.r1_gamma and step % loss.r1_interval == 0:
            yield "d_reg", lambda: self.d_reg(images, labels)

    def _run(self, step_fn, *args):
        results = self.strategy.run(step_fn, args=args)
        return {name: self._join(value) for name, value in results.items()}

    def _join(self, value):
        """Mean of a scalar over the replicas, or the vector of all their samples."""
        parts = self.strategy.experimental_local_results(value)
        if parts[0].shape.rank:
            return tf.concat(parts, axis=0)
        return tf.reduce_mean(tf.stack(parts))

    def _g_main(self, labels, step):
        state = self.state
        with _tape(state.g) as tape:
            images, ws = self._fake("g_main", step, labels, self.batch_size)
            logits = state.d(images, self._condition(labels))
            loss = losses.generator_nonsaturating(logits)  # [n]
            total = tf.reduce_sum(loss) / self.batch_size
        self._apply(state.g_optimizer, tape, total, state.g)
        state.g.track_w_avg(ws)
        return {"loss/g_main": tf.reduce_mean(loss)}

    def _g_reg(self, labels, step):
        state, loss = self.state, self.config.loss
        count = self.pl_batch_size
        labels = labels[: labels.shape[0] // loss.pl_batch_shrink]
        channels = self.config.data.channels
        direction = self._normal(
            "g_reg/direction", step, [count, *self.config.data.image_size, channels]
        )
        with _tape(state.g) as tape:
            mixed, ws, noise = self._styles("g_reg", step, labels, count)
            lengths = losses.path_lengths(
                lambda ws: state.g.synthesis(ws, noise=noise), mixed, direction
            )  # [n]
            penalty, pl_mean = losses.path_length_penalty(
                lengths, state.pl_mean, loss.pl_decay, global_mean
            )
            total = tf.reduce_sum(penalty) * loss.pl_weight / count
            total *= loss.pl_interval
        self._apply(state.g_optimizer, tape, total, state.g)
        state.g.track_w_avg(ws)
        state.pl_mean.assign(pl_mean)
        return {
            "reg/path_length": tf.reduce_mean(lengths),
            "reg/path_length_penalty": tf.reduce_mean(penalty),
        }

    def _d_main(self, images, labels, step):
        state = self.state
        condition = self._condition(labels)
        fake, ws = self._fake("d_main", step, labels, self.batch_size)
        state.g.track_w_avg(ws)
        with _tape(state.d) as tape:
            fake_logits = state.d(fake, condition)  # [n, 1]
            real_logits = state.d(pipeline.to_float(images), condition)
            loss = losses.discriminator_logistic(real_logits, fake_logits)
            total = tf.reduce_sum(loss) / self.batch_size
        self._apply(state.d_optimizer, tape, total, state.d)
        return {
            "loss/d_main": tf.reduce_mean(loss),
            "logits/real": tf.reduce_mean(real_logits),
            "logits/fake": tf.reduce_mean(fake_logits),
            "logits/real_sign": tf.reduce_mean(tf.sign(real_logits)),
            "logits/real_of_step": real_logits[:, 0],
            "logits/fake_of_step": fake_logits[:, 0],
        }

    def _d_reg(self, images, labels):
        state, loss = self.state, self.config.loss
        with _tape(state.d) as tape:
            penalty, _ = losses.r1_penalty(
                lambda x: state.d(x, self._condition(labels)),
                pipeline.to_float(images),
            )  # [n]
            total = tf.reduce_sum(penalty) * (loss.r1_gamma / 2) / self.batch_size
            total *= loss.r1_interval
        self._apply(state.d_optimizer, tape, total, state.d)
        return {"reg/r1": tf.reduce_mean(penalty)}

    def _condition(self, labels):
        return labels if self.state.d.label_dim else None

    def _fake(self, stream, step, labels, count):
        """Fake images [n, H, W, C] and their unmixed ws [n, L, D]."""
        mixed, ws, noise = self._styles(stream, step, labels, count)
        return self.state.g.synthesis(mixed, noise=noise), ws

    def _styles(self, stream, step, labels, count):
        """Mixed ws, unmixed ws and noise maps of this replica's rows."""
        g = self.state.g
        probability = self.config.generator.style_mixing_prob
        shape = [count, g.mapping.z_dim]
        labels = self._condition(labels)
        ws = g.mapping(self._normal(f"{stream}/z", step, shape), labels)
        mixed = ws
        if probability:
            other = g.mapping(self._normal(f"{stream}/z_mixing", step, shape), labels)
            cutoff = self._mixing_cutoff(f"{stream}/cutoff", step, probability)
            mixed = generator.mix_styles(ws, other, cutoff)
        key = rng.seed(self.config.seed, f"{stream}/noise", step)
        noise = [replica_rows(x) for x in g.synthesis.draw_noise(count, key)]
        return mixed, ws, noise

    def _mixing_cutoff(self, stream, step, probability):
        """One cutoff for the whole batch: uniform in [1, L) or, unmixed, L."""
        layers = self.state.g.mapping.num_ws
        key = rng.seed(self.config.seed, stream, step)
        chance, where = tf.unstack(rng.uniform(key, [2]))
        cutoff = 1 + tf.cast(where * (layers - 1), tf.int32)
        return tf.where(chance < probability, cutoff, layers)

    def _normal(self, stream, step, shape):
        key = rng.seed(self.config.seed, stream, step)
        return replica_rows(rng.normal(key, shape))

    def _apply(self, optimizer, tape, total, network):
        # Keras sums the gradients of the replicas; `total` is over the global batch.
        variables = network.trainable_variables
        gradients = tape.gradient(
            total,
            [variable.value for variable in variables],
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        optimizer.apply(gradients, variables)


@contextlib.contextmanager
def _tape(network):
    """A tape that watches the weights of one network only."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch([variable.value for variable in network.trainable_variables])
        yield tape


def _lerp(average, current, decay):
    average.assign(current + (average - current) * decay)


def _copy(average, current):
    average.assign(current)
