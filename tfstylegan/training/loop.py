"""The outer loop: ticks of compiled steps, with what is due after each of them."""

import collections
import os
import pathlib
import signal
import time

import numpy as np
from absl import logging

from tfstylegan import checkpoints, ops
from tfstylegan import config as config_lib
from tfstylegan.data import pipeline
from tfstylegan.networks import storage
from tfstylegan.training import (
    allocator,
    gallery,
    loss_scale,
    precision,
    replicas,
    transfer,
)
from tfstylegan.training import growing as growing_lib
from tfstylegan.training import report as report_lib
from tfstylegan.training import state as state_lib
from tfstylegan.training import steps as steps_lib


class Diverged(Exception):
    """A loss is not finite any more; training on would only overwrite good weights."""


class Loop:
    """One run in one process.

    Args:
      config: a `config.Config`.
      workdir: folder of the run; if it holds a checkpoint, the run goes on from there.
      source: a `data.sources.Source`.
      strategy: where to train, as of `devices.mirrored_strategy`.
    """

    def __init__(self, config, workdir, source, strategy):
        allocator.keep_freed_memory()
        precision.prepare(config.precision)
        self.config = config
        self.workdir = workdir
        self.source = source
        self.strategy = strategy
        label_dim = source.label_dim if config.data.labels else 0
        with strategy.scope():
            self.state = state_lib.create(config, label_dim)
        self.checkpoint = self.state.checkpoint()
        self.checkpoints = pathlib.Path(workdir) / config_lib.CHECKPOINTS
        newest = checkpoints.newest_sound(self.checkpoints)
        resumed = newest is not None
        if resumed:
            path = checkpoints.path_of(self.checkpoints, newest)
            self.checkpoint.read(path).assert_consumed()
        elif config.resume_from:
            transfer.take_over(self.state, config.resume_from)
        self.report = self.gallery = self._stream = None
        self.growing = growing_lib.Growing(config, self.state, resumed=resumed)
        self.steps = self._traced = None
        self._begin_stage()
        self.step = int(self.state.step.numpy())
        self.cur_nimg = int(self.state.cur_nimg.numpy())
        self._saved = newest  # images seen at the last checkpoint, None without
        self.stopped_by = None
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
            while self.cur_nimg < self._total and not self.stopped_by:
                self._tick()
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
        logging.info("precision: %s", precision.describe(self.config.precision))
        logging.info(
            "devices: %d x %s",
            self.strategy.num_replicas_in_sync,
            self.strategy.extended.worker_devices[0],
        )
        if self.cur_nimg:
            logging.info("going on at kimg %g", self.cur_nimg / 1000)

    def _begin_stage(self):
        """Steps of this stage's batch size and blocks, to be traced as they run."""
        self.steps = steps_lib.Steps(
            self.state,
            self.config,
            self.strategy,
            batch_size=self.growing.now.batch_size,
            stage=self.growing.stage,
        )
        self._traced = {}  # name of a phase: seconds of its first call
        if self.gallery:
            self.gallery.retrace()

    def _batches(self):
        """(Batch size, iterator of batches) of the stream from here on."""
        config, count = self.config, self.strategy.num_replicas_in_sync
        stream = pipeline.training_stream(
            self.source,
            batch_size=self.steps.batch_size,
            seed=config.seed,
            start_image=self.cur_nimg,
            mirror=config.data.mirror,
        )

        def order(batch):
            return {k: replicas.order(v, count) for k, v in batch.items()}

        if count > 1:
            stream = stream.map(order)
        stream = self.strategy.experimental_distribute_dataset(stream)
        return self.steps.batch_size, iter(stream)

    def _tick(self):
        """Steps up to the end of a tick, then looks at them."""
        tick, end = self.growing.tick(self.cur_nimg)
        end = min(end, self._total)
        results = collections.defaultdict(list)
        start, first_nimg = time.monotonic(), self.cur_nimg
        waited = retrace = 0.0
        while self.cur_nimg < end and not self.stopped_by:
            begins = self.growing.follow(self.step, self.cur_nimg)
            if begins:
                self._begin_stage()
            asked = time.monotonic()
            batch = self._next_batch()
            waited += time.monotonic() - asked
            before = sum(self._traced.values())
            for name, value in self._step(batch).items():
                results[name].append(value)
            seconds = sum(self._traced.values()) - before
            retrace += seconds
            if begins:
                self._tell_stage(seconds)
            self.report.advance(self.cur_nimg)
        if self.cur_nimg == first_nimg:
            return
        scalars, vectors = _summary(results)
        seconds = time.monotonic() - start
        scalars["timing/sec_per_tick"] = seconds
        scalars["timing/sec_per_kimg"] = seconds / (self.cur_nimg - first_nimg) * 1000
        scalars["timing/data_wait"] = waited / seconds  # part of the tick
        if retrace:
            scalars["timing/retrace"] = retrace
        scalars |= self.growing.progress | loss_scale.progress(self.state)
        if self.state.augment:
            scalars |= self.state.augment.progress
        self._look(tick, scalars, vectors)

    def _next_batch(self):
        """The next images of the stream, as many as this stage has in a batch."""
        if not self._stream or self._stream[0] != self.steps.batch_size:
            self._stream = self._batches()
        return pipeline.next_of(self._stream[1])

    def _step(self, batch):
        """One training step; returns what its phases tell."""
        results = {}
        self.cur_nimg += self.steps.batch_size
        for name, phase in self.steps.phases(batch, self.step, self.cur_nimg):
            start = time.monotonic()
            results |= phase()
            self._traced.setdefault(name, time.monotonic() - start)
        self.step += 1
        return results

    def _tell_stage(self, seconds):
        growing, (floor, ceiling) = self.growing, self.growing.stage
        self.report.say(
            f"kimg {self.cur_nimg / 1000:<8g} resolution {growing.resolution}"
            f"{' fades in' if ceiling > floor else ''}, batch size "
            f"{self.steps.batch_size}; first step traced in {seconds:.1f} s"
        )

    def _look(self, tick, scalars, vectors):
        """Statistics of every tick; a checkpoint, pictures and metrics when due."""
        train = self.config.train
        self._check_finite(scalars)
        # A batch may be longer than a short tick: then those between are over as well.
        last = max(tick, self.growing.tick(self.cur_nimg)[0] - 1)

        def due(ticks):
            return last // ticks > (tick - 1) // ticks

        histograms = {}
        over = self.cur_nimg >= self._total
        if over or due(train.image_ticks):
            histograms = self.gallery.histograms(vectors, [self.state.g, self.state.d])
        self.report.tick(last, self.cur_nimg, scalars, histograms)
        if over:
            return  # `_finish` does the rest
        if due(train.checkpoint_ticks):
            self._try_to_save()
        views = {self.gallery.pictures: train.image_ticks}
        views |= {self.gallery.metrics: train.metric_ticks}
        self._views([view for view, ticks in views.items() if due(ticks)])

    def _views(self, views):
        for view in views:
            if not self.stopped_by:
                view(self.cur_nimg)

    def _check_finite(self, scalars):
        for name, value in scalars.items():
            if not np.isfinite(value):
                saved = (self._saved or 0) / 1000
                raise Diverged(
                    f"{name} is {value} at kimg {self.cur_nimg / 1000:g}; the newest "
                    f"checkpoint in {self.workdir} is of kimg {saved:g}"
                )

    def _save(self):
        """Writes a checkpoint unless this one is there; raises OSError."""
        if self._saved == self.cur_nimg:
            return
        self.state.step.assign(self.step)
        self.state.cur_nimg.assign(self.cur_nimg)
        keep = self.config.train.keep_checkpoints
        checkpoints.write(self.checkpoint, self.checkpoints, self.cur_nimg, keep=keep)
        self._saved = self.cur_nimg

    def _try_to_save(self):
        """As `_save`, but where it fails the run goes on: a later one may succeed."""
        try:
            self._save()
        except OSError as error:
            self.report.say(f"warning: {error}; training goes on without it")

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
        written = self.workdir / "model" / "config.json"
        if self._saved != self.cur_nimg or not written.exists():
            return False
        saved = f"{checkpoints.path_of(self.checkpoints, self._saved)}.json"
        return written.stat().st_mtime >= os.stat(saved).st_mtime


def _summary(results):
    """Means of the scalars of many steps, and the newest of their vectors."""
    is_vector = {name: values[-1].shape.rank > 0 for name, values in results.items()}
    scalars = {
        name: float(np.mean(values))
        for name, values in results.items()
        if not is_vector[name]
    }
    vectors = {name: v[-1] for name, v in results.items() if is_vector[name]}
    return scalars, vectors
