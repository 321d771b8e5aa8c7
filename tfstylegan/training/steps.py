"""The compiled training steps and the moving average (StyleGAN2, appendix B).

A step runs on every replica. Random numbers are drawn for the global batch, and each
replica takes every R-th row (R replicas): a run does not depend on how many there are,
as long as a replica has the samples of a whole minibatch-stddev group (these are R
apart as well).

A network is called with training=True in the steps that train it: spectral norms move.

With `config.augment` D sees augmented images only: real and generated ones, in every
loss and penalty. Gradients with respect to images are of those before augmentation.
"""

import contextlib
import itertools

import tensorflow as tf

from tfstylegan import augment, losses, rng
from tfstylegan.data import pipeline
from tfstylegan.networks import generator
from tfstylegan.training import ema as ema_lib
from tfstylegan.training import loss_scale, objectives, precision, replicas, schedules


class Steps:
    """Compiled steps over a `state.State`; each returns named scalars or vectors.

    Args:
      state: a `state.State`.
      config: a `config.Config`.
      strategy: where to train.
      batch_size: global batch, by default `config.train.batch_size`.
      stage: (floor, ceiling) of the lod while these steps are used.
    """

    def __init__(self, state, config, strategy, *, batch_size=None, stage=(0, 0)):
        self.state = state
        self.config = config
        self.strategy = strategy
        self.batch_size = batch_size or config.train.batch_size
        self.stage = stage
        self.gradient_scale = loss_scale.gradient_scale(config)
        self.pl_batch_size = self.batch_size // config.loss.pl_batch_shrink
        self.augment = None
        if config.augment.mode != "none":
            height, width = config.data.image_size
            self.augment = augment.Augment(
                height=height,
                width=width,
                channels=config.data.channels,
                preset=config.augment.preset,
            )

    @tf.function
    def g_main(self, labels, step):
        """Adversarial loss of G; labels [B, T] of the fake images."""
        return self._run(self._g_main, labels, step)

    @tf.function
    def g_reg(self, labels, step):
        """Path length regularisation of G."""
        return self._run(self._g_reg, labels, step)

    @tf.function
    def d_main(self, images, labels, step):
        """Adversarial loss of D; images uint8 [B, H, W, C]."""
        told = self._run(self._d_main, images, labels, step)
        if self.augment:
            sign = told["logits/real_sign"]
            self.state.augment.observe(sign, self.batch_size, step)
        return told

    @tf.function
    def d_reg(self, images, labels, step=None):
        """Gradient penalties of D; only those at fake images need `step`."""
        return self._run(self._d_reg, images, labels, step)

    @tf.function
    def ema(self, decay):
        """G_ema <- lerp(G, G_ema, decay); variables that do not train are copied."""
        ema_lib.update(self.strategy, self.state.g, self.state.g_ema, decay)
        return {}

    def phases(self, batch, step, cur_nimg):
        """Yields (name, function) of the phases of training step `step`, in order.

        G, its lazy regulariser, D, the moving average, D's lazy regulariser; or D's
        first. `batch` is {"image", "label"} of the global batch; `cur_nimg` counts its
        images as well. Each function returns named scalars, or vectors over the batch.
        """
        train = self.config.train
        images, labels = batch["image"], batch["label"]
        number = tf.constant(step, tf.int64)
        d_phases = self._d_phases(images, labels, step, number, cur_nimg)
        if train.d_first:
            yield from d_phases
        # With several steps of D, G's is beside the one that borders on it.
        g_step, rest = divmod(step, train.d_steps)
        if rest == (train.d_steps - 1 if train.d_first else 0):
            yield from self._g_phases(labels, g_step, number)
        if not train.d_first:
            yield from d_phases

    def _g_phases(self, labels, step, number):
        loss = self.config.loss
        yield "g_main", lambda: self.g_main(labels, number)
        if loss.lazy and loss.pl_weight and step % loss.pl_interval == 0:
            yield "g_reg", lambda: self.g_reg(labels, number)

    def _d_phases(self, images, labels, step, number, cur_nimg):
        loss, train = self.config.loss, self.config.train
        yield "d_main", lambda: self.d_main(images, labels, number)
        decay = schedules.ema_decay(
            cur_nimg, self.batch_size, train.ema_halflife_kimg, train.ema_rampup
        )
        yield "ema", lambda: self.ema(tf.constant(decay, tf.float32))
        lazy = loss.lazy and objectives.regularises_d(loss)
        if lazy and step % loss.r1_interval == 0:
            yield "d_reg", lambda: self.d_reg(images, labels, number)

    def _run(self, step_fn, *args):
        run = self.strategy.run
        if self.config.precision.xla:
            run = precision.compiled(run)
        results = run(step_fn, args=args)
        return {name: self._join(value) for name, value in results.items()}

    def _join(self, value):
        """Mean of a scalar over the replicas, or the vector of all their samples."""
        parts = self.strategy.experimental_local_results(value)
        if parts[0].shape.rank:
            return tf.concat(parts, axis=0)
        return tf.reduce_mean(tf.stack(parts))

    def _g_main(self, labels, step):
        state, loss = self.state, self.config.loss
        told = {}
        with _tape(state.g) as tape:
            images, ws = self._fake("g_main", step, labels, training=True)
            discriminate = self._discriminator("g_main", step, labels)
            logits = discriminate(images)
            value = objectives.generator_loss(loss, logits)  # [n]
            total = tf.reduce_sum(value) / self.batch_size
            if loss.pl_weight and not loss.lazy:
                penalty, told = self._path_length(labels, step)
                total += penalty
        self._apply(state.g_optimizer, tape, total, state.g)
        state.g.track_w_avg(ws)
        return {"loss/g_main": tf.reduce_mean(value)} | told

    def _g_reg(self, labels, step):
        state = self.state
        with _tape(state.g) as tape:
            total, told = self._path_length(labels, step)
            total *= self.config.loss.pl_interval
        self._apply(state.g_optimizer, tape, total, state.g)
        return told

    def _path_length(self, labels, step):
        """Weighted penalty, and scalars; moves w_avg and the mean length."""
        state, loss = self.state, self.config.loss
        count = self.pl_batch_size
        labels = labels[: labels.shape[0] // loss.pl_batch_shrink]
        channels = self.config.data.channels
        shape = [count, *self.config.data.image_size, channels]
        direction = self._normal("g_reg/direction", step, shape)
        mixed, ws, noise = self._styles("g_reg", step, labels, count)
        lengths = losses.path_lengths(
            lambda ws: state.g.synthesis(ws, noise=noise, training=True),
            mixed,
            direction,
            self.gradient_scale,
        )  # [n]
        penalty, pl_mean = losses.path_length_penalty(
            lengths, state.pl_mean, loss.pl_decay, replicas.global_mean
        )
        state.g.track_w_avg(ws)
        state.pl_mean.assign(pl_mean)
        return tf.reduce_sum(penalty) * loss.pl_weight / count, {
            "reg/path_length": tf.reduce_mean(lengths),
            "reg/path_length_penalty": tf.reduce_mean(penalty),
        }

    def _d_main(self, images, labels, step):
        state, loss = self.state, self.config.loss
        discriminate = self._discriminator("d_main", step, labels, training=True)
        fake, ws = self._fake("d_main", step, labels)
        state.g.track_w_avg(ws)
        real = self._real(images)
        total, logits, told = 0.0, {}, {}
        with _tape(state.d) as tape:
            if not loss.lazy:
                total, logits, told = self._d_penalties(discriminate, real, fake, step)
            for name, x in {"fake": fake, "real": real}.items():
                if name not in logits:
                    logits[name] = discriminate(x)  # [n, 1]
            value = objectives.discriminator_loss(loss, logits["real"], logits["fake"])
            total += tf.reduce_sum(value) / self.batch_size
        self._apply(state.d_optimizer, tape, total, state.d)
        return {
            "loss/d_main": tf.reduce_mean(value),
            "logits/real": tf.reduce_mean(logits["real"]),
            "logits/fake": tf.reduce_mean(logits["fake"]),
            "logits/real_sign": tf.reduce_mean(tf.sign(logits["real"])),
            "logits/real_of_step": logits["real"][:, 0],
            "logits/fake_of_step": logits["fake"][:, 0],
        } | told

    def _d_reg(self, images, labels, step):
        state, fake = self.state, None
        if objectives.needs_fakes(self.config.loss):
            fake, ws = self._fake("d_reg", step, labels)
            state.g.track_w_avg(ws)
        real = self._real(images)
        with _tape(state.d) as tape:
            discriminate = self._discriminator("d_reg", step, labels, training=True)
            total, _, told = self._d_penalties(discriminate, real, fake, step)
            total *= self.config.loss.r1_interval
        self._apply(state.d_optimizer, tape, total, state.d)
        return told

    def _d_penalties(self, discriminate, real, fake, step):
        """Sum of D's weighted penalties, logits that came out, and scalars."""

        def factors():
            key = rng.seed(self.config.seed, "d_reg/factors", step)
            return replicas.rows(rng.uniform(key, [self.batch_size, 1, 1, 1]))

        penalties, logits = objectives.discriminator_penalties(
            self.config.loss, discriminate, real, fake, factors, self.gradient_scale
        )
        total = 0.0
        for penalty, weight in penalties.values():
            total += tf.reduce_sum(penalty) * weight / self.batch_size
        return total, logits, {k: tf.reduce_mean(p) for k, (p, _) in penalties.items()}

    def _discriminator(self, stream, step, labels, training=False):
        """Function of images [n, H, W, C] to logits [n, 1]: D of them, augmented.

        Each call of it draws an augmentation of its own.
        """
        condition = self._condition(labels)
        calls = itertools.count()

        def discriminate(images):
            if self.augment:
                name = f"{stream}/augment_{next(calls)}"
                images = self._augmented(images, name, step)
            return self.state.d(images, condition, training=training)

        return discriminate

    def _augmented(self, images, stream, step):
        key = rng.seed(self.config.seed, stream, step)
        drawn = self.augment.draw(self.batch_size, self.state.augment.p, key)
        rows = {name: replicas.rows(values) for name, values in drawn.items()}
        return self.augment.apply(images, rows)

    def _real(self, images):
        """Real images as D sees them at the lod of this step, [n, H, W, C]."""
        images = pipeline.to_float(images)
        whole, ceiling = self.stage
        if not ceiling:
            return images
        fading = self.state.d.lod - whole if ceiling > whole else None
        return pipeline.at_lod(images, whole, fading)

    def _condition(self, labels):
        return labels if self.state.d.label_dim else None

    def _fake(self, stream, step, labels, training=False):
        """Fake images [n, H, W, C] and their unmixed ws [n, L, D]."""
        mixed, ws, noise = self._styles(stream, step, labels, self.batch_size)
        return self.state.g.synthesis(mixed, noise=noise, training=training), ws

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
        noise = [replicas.rows(x) for x in g.synthesis.draw_noise(count, key)]
        return mixed, ws, noise

    def _mixing_cutoff(self, stream, step, probability):
        """One cutoff for the whole batch: uniform in [1, L) or, unmixed, L."""
        layers = self.state.g.layers_in_use
        key = rng.seed(self.config.seed, stream, step)
        chance, where = tf.unstack(rng.uniform(key, [2]))
        cutoff = 1 + tf.cast(where * (layers - 1), tf.int32)
        return tf.where(chance < probability, cutoff, layers)

    def _normal(self, stream, step, shape):
        key = rng.seed(self.config.seed, stream, step)
        return replicas.rows(rng.normal(key, shape))

    def _apply(self, optimizer, tape, total, network):
        # Keras sums the gradients of the replicas; `total` is over the global batch.
        variables = network.trainable_variables
        gradients = tape.gradient(
            total,
            [variable.value for variable in variables],
            output_gradients=optimizer.scale_loss(tf.ones_like(total)),
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        optimizer.apply(gradients, variables)


@contextlib.contextmanager
def _tape(network):
    """A tape that watches the weights of one network only."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch([variable.value for variable in network.trainable_variables])
        yield tape
