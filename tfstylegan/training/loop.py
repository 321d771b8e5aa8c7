"""The outer loop: ticks of compiled steps, with what is due after each of them."""

import collections
import signal
import time

import numpy as np
import tensorflow as tf
from absl import logging

from tfstylegan import ops
from tfstylegan.data import pipeline
from tfstylegan.networks import storage
from tfstylegan.training import allocator, gallery
from tfstylegan.training import report as report_lib
from tfstylegan.training import state as state_lib
from tfstylegan.training import steps as steps_lib


class Diverged(Exception):
    """A loss is not finite any more; training on would only overwrite good weights."""


def mirrored_strategy(config):
    """MirroredStrategy over all GPUs, or over the one CPU.

    Raises ValueError where the batch cannot be shared out evenly.
    """
    gpus = tf.config.list_logical_devices("GPU")
    devices = [gpu.name for gpu in gpus] or ["CPU:0"]
    count, batch = len(devices), config.train.batch_size
    multiple = count * (config.loss.pl_batch_shrink if config.loss.pl_weight else 1)
    if batch % multiple:
        raise ValueError(
            f"config.train.batch_size must be a multiple of {multiple} on {count} "
            f"devices; got {batch}"
        )
    group = config.discriminator.mbstd_group_size
    if group and batch // count > group and batch // count % group:
        raise ValueError(
            f"config.train.batch_size must give each of {count} devices a multiple of "
            f"discriminator.mbstd_group_size = {group}; got {batch}"
        )
    return tf.distribute.MirroredStrategy(devices)


class Loop:
    """One run in one process.

    Args:
      config: a `config.Config`.
      workdir: folder of the run; if it holds a checkpoint, the run goes on from there.
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
        self.report = None
        self.gallery = None
        self._handlers = {}
        self._announce()

    def run(self):
        """Ticks until `config.train.total_kimg`; returns the signal that stopped it.

        SIGINT and SIGTERM make it save and return; otherwise it returns None.
        Raises Diverged where a loss is not finite; nothing is saved then.
        """
        facts = {"ops": ops.library.describe()}
        self.report = report_lib.Report(self.workdir, self.config, self.cur_nimg, facts)
        self.gallery = gallery.Gallery(
            self.config, self.source, self.state.g_ema, self.report
        )
        self._handlers = {
            number: signal.signal(number, self._stop)
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            if not self.cur_nimg:
                self._views([self.gallery.reals, *self.gallery.views])
            batches = self._batches()
            while self.cur_nimg < self._total and not self.stopped_by:
                self._tick(batches)
            if self.stopped_by:
                self._save()
            elif not self._finished():
                self._finish()
        finally:
            self._restore_handlers()
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
        self._restore_handlers()
        self.report.say(f"{self.stopped_by.name}: saving; once more to leave at once")

    def _restore_handlers(self):
        while self._handlers:
            signal.signal(*self._handlers.popitem())

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
        results = collections.defaultdict(list)
        start, first_nimg = time.monotonic(), self.cur_nimg
        while self.cur_nimg < end and not self.stopped_by:
            for name, value in self._step(next(batches)).items():
                results[name].append(value)
            self.report.advance(self.cur_nimg)
        if self.cur_nimg == first_nimg:
            return
        seconds = time.monotonic() - start
        vectors = {
            name: values[-1] for name, values in results.items() if _is_vector(values)
        }
        scalars = {
            name: float(np.mean(values))
            for name, values in results.items()
            if name not in vectors
        }
        scalars["timing/sec_per_tick"] = seconds
        scalars["timing/sec_per_kimg"] = seconds / (self.cur_nimg - first_nimg) * 1000
        self._look(tick, scalars, vectors)

    def _step(self, batch):
        """One training step; returns what its phases tell."""
        results = {}
        self.cur_nimg += self.config.train.batch_size
        for _, phase in self.steps.phases(batch, self.step, self.cur_nimg):
            results |= phase()
        self.step += 1
        return results

    def _look(self, tick, scalars, vectors):
        """Statistics of every tick; a checkpoint, pictures and metrics when due."""
        train = self.config.train
        self._check_finite(scalars)
        histograms = {}
        over = self.cur_nimg >= self._total
        if over or tick % train.image_ticks == 0:
            histograms = self.gallery.histograms(vectors, [self.state.g, self.state.d])
        self.report.tick(tick, self.cur_nimg, scalars, histograms)
        if over:
            return  # `_finish` does the rest
        if tick % train.checkpoint_ticks == 0:
            self._save()
        due = {self.gallery.pictures: train.image_ticks}
        due |= {self.gallery.metrics: train.metric_ticks}
        self._views([view for view, ticks in due.items() if tick % ticks == 0])

    def _views(self, views):
        for view in views:
            if not self.stopped_by:
                view(self.cur_nimg)

    def _check_finite(self, scalars):
        for name, value in scalars.items():
            if not np.isfinite(value):
                saved = int(self.state.cur_nimg.numpy())
                raise Diverged(
                    f"{name} is {value} at kimg {self.cur_nimg / 1000:g}; the newest "
                    f"checkpoint in {self.workdir} is of kimg {saved / 1000:g}"
                )

    def _save(self):
        if self.cur_nimg == int(self.state.cur_nimg.numpy()) and self.cur_nimg:
            return  # saved already
        self.state.step.assign(self.step)
        self.state.cur_nimg.assign(self.cur_nimg)
        self.manager.save(checkpoint_number=self.cur_nimg)

    def _finish(self):
        """The last checkpoint, pictures, metrics and the model directory."""
        self._save()
        self._views(self.gallery.views)
        if self.stopped_by:
            return  # the same command finishes
        networks = storage.Networks(
            G=self.state.g, D=self.state.d, G_ema=self.state.g_ema, config=self.config
        )
        storage.save_networks(self.workdir / "model", networks)

    def _finished(self):
        """Whether the model directory, written last, is of the newest checkpoint."""
        newest = self.manager.latest_checkpoint
        written = self.workdir / "model" / "config.json"
        if not newest or not written.exists():
            return False
        saved = (self.workdir / f"{newest}.index").stat().st_mtime
        return (
            self.cur_nimg == int(self.state.cur_nimg.numpy())
            and written.stat().st_mtime >= saved
        )


def _is_vector(values):
    return values[-1].shape.rank > 0
