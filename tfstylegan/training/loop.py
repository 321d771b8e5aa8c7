"""The outer loop: ticks of compiled steps, with checkpoints, pictures and metrics."""

import collections
import signal
import time

import numpy as np
import tensorflow as tf
from absl import logging

from tfstylegan import ops, sampling
from tfstylegan.data import pipeline
from tfstylegan.metrics import suite
from tfstylegan.networks import storage
from tfstylegan.training import allocator, schedules
from tfstylegan.training import report as report_lib
from tfstylegan.training import state as state_lib
from tfstylegan.training import steps as steps_lib

METRIC_SEED = 0  # metrics and pictures show the same latents in every run


def mirrored_strategy(config):
    """MirroredStrategy over all GPUs, or over the one CPU.

    Raises ValueError where the batch cannot be shared out evenly.
    """
    gpus = tf.config.list_logical_devices("GPU")
    devices = [gpu.name for gpu in gpus] or ["CPU:0"]
    multiple = len(devices) * (
        config.loss.pl_batch_shrink if config.loss.pl_weight else 1
    )
    if config.train.batch_size % multiple:
        raise ValueError(
            f"config.train.batch_size must be a multiple of {multiple} on "
            f"{len(devices)} devices; got {config.train.batch_size}"
        )
    return tf.distribute.MirroredStrategy(devices)


class Loop:
    """One run in one process.

    Args:
      config: a `config.Config`.
      workdir: folder of the run, claimed by `workdir.claim`; if it holds a checkpoint,
        the run continues from there.
      source: a `data.sources.Source`.
      strategy: where to train, as of `mirrored_strategy`.
    """

    def __init__(self, config, workdir, source, strategy):
        allocator.keep_freed_memory()
        self.config = config
        self.workdir = workdir
        self.source = source
        self.strategy = strategy
        label_dim = source.label_dim if config.data.labels else 0
        with strategy.scope():
            self.state = state_lib.create(config, label_dim)
        self.manager = state_lib.manager(
            self.state, workdir, config.train.keep_checkpoints
        )
        if self.manager.latest_checkpoint:
            status = self.manager.checkpoint.restore(self.manager.latest_checkpoint)
            status.assert_consumed()
        self.steps = steps_lib.Steps(self.state, config, strategy)
        self.step = int(self.state.step.numpy())
        self.cur_nimg = int(self.state.cur_nimg.numpy())
        self.stopped_by = None
        self._announce()

    def run(self):
        """Ticks until `config.train.total_kimg`; returns the signal that stopped it.

        SIGINT and SIGTERM make it save and return; otherwise it returns None.
        """
        self.report = report_lib.Report(self.workdir, self.config, self.cur_nimg)
        handlers = {
            number: signal.signal(number, self._stop)
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            if not self.cur_nimg:
                self._first_look()
            batches = self._batches()
            while self.cur_nimg < self._total and not self.stopped_by:
                self._tick(batches)
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            self.report.close()
        return self.stopped_by

    @property
    def _total(self):
        return int(round(self.config.train.total_kimg * 1000))

    @property
    def _tick_images(self):
        return max(1, int(round(self.config.train.tick_kimg * 1000)))

    def _stop(self, number, frame):
        self.stopped_by = signal.Signals(number)

    def _announce(self):
        logging.info("data: %s", self.source.description)
        logging.info("ops: %s", ops.library.describe())
        logging.info(
            "devices: %d x %s",
            self.strategy.num_replicas_in_sync,
            self.strategy.extended.worker_devices[0],
        )
        if self.cur_nimg:
            logging.info("going on at kimg %g", self.cur_nimg / 1000)

    def _batches(self):
        config, replicas = self.config, self.strategy.num_replicas_in_sync
        stream = pipeline.training_stream(
            self.source,
            batch_size=config.train.batch_size,
            seed=config.seed,
            start_image=self.cur_nimg,
            mirror=config.data.mirror,
        )

        def order(batch):
            return {k: steps_lib.replica_order(v, replicas) for k, v in batch.items()}

        if replicas > 1:
            stream = stream.map(order)
        return iter(self.strategy.experimental_distribute_dataset(stream))

    def _tick(self, batches):
        """Steps up to the next multiple of the tick length, then looks at them."""
        tick = self.cur_nimg // self._tick_images + 1
        end = min(tick * self._tick_images, self._total)
        sums = collections.defaultdict(list)
        start, first_nimg = time.monotonic(), self.cur_nimg
        while self.cur_nimg < end and not self.stopped_by:
            for name, value in self._step(next(batches)).items():
                sums[name].append(value)
            self.report.advance(self.cur_nimg)
        scalars = {name: float(np.mean(values)) for name, values in sums.items()}
        seconds = time.monotonic() - start
        kimg = (self.cur_nimg - first_nimg) / 1000
        scalars["timing/sec_per_tick"] = seconds
        scalars["timing/sec_per_kimg"] = seconds / kimg if kimg else 0.0
        self._look(tick, scalars, sums, finished=self.cur_nimg >= self._total)

    def _step(self, batch):
        """One training step: G, G's regulariser, D with EMA, D's regulariser."""
        loss, train = self.config.loss, self.config.train
        images, labels = batch["image"], batch["label"]
        step = tf.constant(self.step, tf.int64)
        scalars = self.steps.g_main(labels, step)
        if loss.pl_weight and self.step % loss.pl_interval == 0:
            scalars |= self.steps.g_reg(labels, step)
        scalars |= self.steps.d_main(images, labels, step)
        self.step += 1
        self.cur_nimg += train.batch_size
        decay = schedules.ema_decay(
            self.cur_nimg, train.batch_size, train.ema_halflife_kimg, train.ema_rampup
        )
        self.steps.ema(tf.constant(decay, tf.float32))
        if loss.r1_gamma and (self.step - 1) % loss.r1_interval == 0:
            scalars |= self.steps.d_reg(images, labels)
        return scalars

    def _look(self, tick, scalars, sums, finished):
        """Statistics of every tick; pictures, metrics and checkpoints when due."""
        train = self.config.train
        histograms = {}
        if finished or tick % train.image_ticks == 0:
            histograms = self._histograms(sums)
        self.report.tick(tick, self.cur_nimg, scalars, histograms)
        if self.stopped_by:
            self._save()
            return
        if finished or tick % train.image_ticks == 0:
            self._pictures()
        if finished or tick % train.metric_ticks == 0:
            self._metrics()
        if finished or tick % train.checkpoint_ticks == 0:
            self._save()
        if finished:
            self._save_model()

    def _first_look(self):
        """What the run starts from: real images, untrained samples and metrics."""
        rows, columns = self.config.train.grid
        real = next(pipeline.real_images(self.source, rows * columns, seed=METRIC_SEED))
        self.report.picture("reals", real, columns, 0)
        self._pictures()
        self._metrics()

    def _pictures(self):
        """EMA samples at fixed latents, and a style-mixing grid."""
        g = self.state.g_ema
        rows, columns = self.config.train.grid
        z = sampling.latents(range(rows * columns), g.mapping.z_dim)
        labels = sampling.cycle_labels(len(z), g.mapping.label_dim)
        images = sampling.render(g, z, labels, noise_mode="const")
        self.report.picture("fakes", sampling.to_uint8(images), columns, self.cur_nimg)
        half = g.mapping.num_ws // 2
        mixed = sampling.style_mixing(
            g,
            z[:4],
            z[4:8] if len(z) >= 8 else z[:4],
            layers=range(half),
            row_labels=None if labels is None else labels[:4],
            noise_mode="const",
        )
        self.report.picture(
            "style_mixing",
            sampling.to_uint8(mixed),
            1 + len(z[4:8] if len(z) >= 8 else z[:4]),
            self.cur_nimg,
        )

    def _metrics(self):
        config = self.config
        labels = self.source.labels if config.data.labels else None
        for name in config.train.metrics:
            result = suite.compute(
                name,
                self.source,
                sampling.image_source(self.state.g_ema, METRIC_SEED, labels),
                num_images=config.train.metric_images,
                mirror=config.data.mirror,
            )
            self.report.metric(name, result["value"], self.cur_nimg)

    def _histograms(self, sums):
        histograms = {
            f"logits/{kind}_of_tick": np.array(sums[f"logits/{kind}"])
            for kind in ("real", "fake")
        }
        for network in (self.state.g, self.state.d):
            for variable in network.trainable_variables:
                histograms[f"weights/{variable.path}"] = variable.numpy()
        return histograms

    def _save(self):
        self.state.step.assign(self.step)
        self.state.cur_nimg.assign(self.cur_nimg)
        self.manager.save(checkpoint_number=self.cur_nimg)

    def _save_model(self):
        networks = storage.Networks(
            G=self.state.g, D=self.state.d, G_ema=self.state.g_ema, config=self.config
        )
        storage.save_networks(self.workdir / "model", networks)
