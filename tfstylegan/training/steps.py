"""The compiled training steps and the moving average (StyleGAN2, appendix B).

A step runs on every replica. Random numbers are drawn for the global batch, and each
replica takes every R-th row (R replicas): a run does not depend on how many there are,
as long as a replica has the samples of a whole minibatch-stddev group (these are R
apart as well). A replica that may not have all of its rows at once works them off in
rounds (`accumulation`).

A network is called with training=True in the steps that train it: spectral norms move.

With `config.augment` D sees augmented images only: real and generated ones, in every
loss and penalty. Gradients with respect to images are of those before augmentation.
"""

import tensorflow as tf

from tfstylegan import rng
from tfstylegan.training import (
    accumulation,
    critic,
    finite,
    loss_scale,
    objectives,
    precision,
    replicas,
    schedules,
    tapes,
)
from tfstylegan.training import draws as draws_lib
from tfstylegan.training import ema as ema_lib
from tfstylegan.training import path_length as path_length_lib


class Steps:
    """Compiled steps over a `state.State`; each returns named scalars or vectors.

    Args:
      state: a `state.State`.
      config: a `config.Config`.
      strategy: where to train.
      batch_size: global batch, by default `config.train.batch_size`.
      stage: (floor, ceiling) of the lod while these steps are used.
      most: samples that a replica has at once, by default
        `config.train.max_batch_per_device`; 0 = all of its share.
    """

    def __init__(
        self, state, config, strategy, *, batch_size=None, stage=(0, 0), most=None
    ):
        self.state = state
        self.config = config
        self.strategy = strategy
        self.batch_size = batch_size or config.train.batch_size
        self.stage = stage
        self.gradient_scale = loss_scale.gradient_scale(config)
        self.most = config.train.max_batch_per_device if most is None else most
        self.draws = draws_lib.Draws(state, config)
        self.path_length = path_length_lib.PathLength(
            state, config, self.draws, self.batch_size // config.loss.pl_batch_shrink
        )
        self.critic = critic.Critic(state, config, self.batch_size, stage)

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
        if self.state.augment:
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
        return replicas.run(self.strategy, step_fn, args, run)

    def _rounds(self):
        """How many rounds the main losses take, and how many the path length."""
        replicas_in_all = self.strategy.num_replicas_in_sync
        share = self.batch_size // replicas_in_all
        group = self.config.discriminator.mbstd_group_size or 1
        pl_share = self.path_length.batch_size // replicas_in_all
        return (
            accumulation.rounds(share, self.most, group),
            accumulation.rounds(pl_share, self.most),
        )

    def _g_main(self, labels, step):
        state, loss = self.state, self.config.loss
        rounds, pl_rounds = self._rounds()
        penalised = loss.pl_weight and not loss.lazy
        drawn = self.draws.latents("g_main", step, self.batch_size)

        def work(part):
            told = {}
            with tapes.tape(state.g) as tape:
                images, ws = self._fake(drawn, labels, part, training=True)
                discriminate = self.critic.function("g_main", step, labels, part)
                logits = discriminate(images)
                value = objectives.generator_loss(loss, logits)  # [n]
                total = tf.reduce_sum(value) / self.batch_size
                if penalised and rounds == pl_rounds == 1:
                    penalty, told = self.path_length.penalty(labels, step)
                    total += penalty
            told = {"loss/g_main": tf.reduce_mean(value), "ws": ws} | told
            return tapes.gradients(tape, total, state.g, state.g_optimizer), told

        gradients, told = self._accumulate(work, rounds, state.g)
        if penalised and not rounds == pl_rounds == 1:
            more, scalars = self._path_length(labels, step, pl_rounds)
            gradients = [a + b for a, b in zip(gradients, more)]
            told |= scalars
        told |= self._apply(state.g_optimizer, gradients, state.g)
        state.g.track_w_avg(told.pop("ws"))
        return told

    def _g_reg(self, labels, step):
        interval = self.config.loss.pl_interval
        gradients, told = self._path_length(labels, step, self._rounds()[1], interval)
        return told | self._apply(self.state.g_optimizer, gradients, self.state.g)

    def _d_main(self, images, labels, step):
        state, loss = self.state, self.config.loss
        drawn = self.draws.latents("d_main", step, self.batch_size)

        def work(part):
            discriminate = self.critic.function("d_main", step, labels, part, True)
            fake, ws = self._fake(drawn, labels, part)
            real = self.critic.real(part(images))
            total, logits, told = 0.0, {}, {}
            with tapes.tape(state.d) as tape:
                if not loss.lazy:
                    total, logits, told = self._d_penalties(
                        discriminate, real, fake, step, part
                    )
                for name, x in {"fake": fake, "real": real}.items():
                    if name not in logits:
                        logits[name] = discriminate(x)  # [n, 1]
                value = objectives.discriminator_loss(
                    loss, logits["real"], logits["fake"]
                )
                total += tf.reduce_sum(value) / self.batch_size
            return tapes.gradients(tape, total, state.d, state.d_optimizer), {
                "loss/d_main": tf.reduce_mean(value),
                "logits/real": tf.reduce_mean(logits["real"]),
                "logits/fake": tf.reduce_mean(logits["fake"]),
                "logits/real_sign": tf.reduce_mean(tf.sign(logits["real"])),
                "logits/real_of_step": logits["real"][:, 0],
                "logits/fake_of_step": logits["fake"][:, 0],
                "ws": ws,
            } | told

        gradients, told = self._accumulate(work, self._rounds()[0], state.d)
        told |= self._apply(state.d_optimizer, gradients, state.d)
        state.g.track_w_avg(told.pop("ws"))
        return told

    def _d_reg(self, images, labels, step):
        state, drawn = self.state, None
        if objectives.needs_fakes(self.config.loss):
            drawn = self.draws.latents("d_reg", step, self.batch_size)

        def work(part):
            fake, seen = None, {}
            if drawn:
                fake, seen["ws"] = self._fake(drawn, labels, part)
            real = self.critic.real(part(images))
            with tapes.tape(state.d) as tape:
                discriminate = self.critic.function("d_reg", step, labels, part, True)
                total, _, told = self._d_penalties(discriminate, real, fake, step, part)
                total *= self.config.loss.r1_interval
            return tapes.gradients(tape, total, state.d, state.d_optimizer), told | seen

        gradients, told = self._accumulate(work, self._rounds()[0], state.d)
        told |= self._apply(state.d_optimizer, gradients, state.d)
        if drawn:
            state.g.track_w_avg(told.pop("ws"))
        return told

    def _path_length(self, labels, step, rounds, factor=None):
        """Gradients of `factor` times the path length penalty, and scalars."""
        if rounds > 1:
            gradients, told = self.path_length.gradients(labels, step, rounds)
            if factor:
                gradients = [gradient * factor for gradient in gradients]
            return gradients, told
        state = self.state
        with tapes.tape(state.g) as tape:
            total, told = self.path_length.penalty(labels, step)
            if factor:
                total *= factor
        return tapes.gradients(tape, total, state.g, state.g_optimizer), told

    def _d_penalties(self, discriminate, real, fake, step, part):
        """Sum of D's weighted penalties, logits that came out, and scalars."""

        def factors():
            key = rng.seed(self.config.seed, "d_reg/factors", step)
            drawn = rng.uniform(key, [self.batch_size, 1, 1, 1])
            return part(replicas.rows(drawn))

        penalties, logits = objectives.discriminator_penalties(
            self.config.loss, discriminate, real, fake, factors, self.gradient_scale
        )
        total = 0.0
        for penalty, weight in penalties.values():
            total += tf.reduce_sum(penalty) * weight / self.batch_size
        return total, logits, {k: tf.reduce_mean(p) for k, (p, _) in penalties.items()}

    def _fake(self, drawn, labels, part, training=False):
        """Fake images [n, H, W, C] and their unmixed ws [n, L, D], of one round."""
        g = self.state.g
        labels = labels if self.state.d.label_dim else None
        mixed, ws, noise = draws_lib.styles(g.mapping, drawn, labels, part)
        return g.synthesis(mixed, noise=noise, training=training), ws

    def _accumulate(self, work, rounds, network):
        """Gradients of one network over this replica's rounds, and what they tell."""
        return accumulation.accumulate(
            work, rounds, tapes.weights(network), tapes.moving(network)
        )

    def _apply(self, optimizer, gradients, network):
        """Changes the network; gradients are summed over the replicas.

        Returns what `finite.apply` tells, nothing where the optimizer scales losses:
        it looks for its scale by steps that are not finite, and skips them itself.
        """
        variables = network.trainable_variables
        if isinstance(optimizer, loss_scale.LossScale):
            optimizer.apply(gradients, variables)
            return {}
        zero = self.config.train.nonfinite == "zero"
        return finite.apply(optimizer, gradients, variables, zero=zero)
