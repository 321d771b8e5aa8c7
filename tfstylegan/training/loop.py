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
    quiet,
    start,
    stream,
)
from tfstylegan.training import growing as growing_lib
from tfstylegan.training import report as report_lib
from tfstylegan.training import state as state_lib
from tfstylegan.training import steps as steps_lib
from tfstylegan.training import workers as workers_lib


class Diverged(Exception):
    """A loss is not finite any more; training on would only overwrite good weights."""


class Loop:
    """One run: in one process, or this worker's part of it.

    Args:
      config: a `config.Config`.
      workdir: folder of the run; if it holds a checkpoint, the run goes on from there.
        Workers other than the chief do not look at it.
      source: a `data.sources.Source`.
      strategy: where to train, as of `devices.strategy`.
      workers: a `workers.Workers`; by default this process is alone.
    """

    def __init__(self, config, workdir, source, strategy, workers=None):
        allocator.keep_freed_memory()
        precision.prepare(config.precision)
        self.config = config
        self.workdir = workdir
        self.source = source
        self.strategy = strategy
        self.workers = workers or workers_lib.Workers(strategy)
        label_dim = source.label_dim if config.data.labels else 0
        with strategy.scope():
            self.state = state_lib.create(config, label_dim)
        self.checkpoint = self.state.checkpoint()
        self.checkpoints = pathlib.Path(workdir) / config_lib.CHECKPOINTS
        newest = start.restore(
            self.state,
            self.checkpoint,
            self.checkpoints,
            config.resume_from,
            self.workers,
        )
        self.report = self.gallery = self._stream = None
        self.growing = growing_lib.Growing(
            config, self.state, resumed=newest is not None
        )
        self.steps = self._traced = None
        self._begin_stage()
        self.step = int(self.state.step.numpy())
        self.cur_nimg = int(self.state.cur_nimg.numpy())
        self._saved = newest  # images seen at the last checkpoint, None without
        self.stopped_by = None  # what all workers have agreed to stop by
        self.received = None  # the signal that this one was sent
        self._handlers = {}
        self._announce()

    def run(self):
        """Ticks until `config.train.total_kimg`; returns the signal that stopped it.

        SIGINT and SIGTERM make it save and return; otherwise it returns None.
        Raises Diverged where a loss is not finite; nothing is saved then.
        """
        facts = {"ops": ops.library.describe()}
        if self.workers.is_chief:
            self.report = report_lib.Report(
                self.workdir, self.config, self.cur_nimg, facts
            )
        else:
            self.report = quiet.Report()
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
            while not self._stopping() and self.cur_nimg < self._total:
                self._tick()
            if self.stopped_by:
                self._save()
            elif not self.workers.of_chief(self._finished()):
                self._finish()
            self.workers.part()
        finally:
            self._restore_handlers()
            self.report.close()
        return self.stopped_by

    @property
    def _total(self):
        return int(round(self.config.train.total_kimg * 1000))

    def _stop(self, number, frame):
        self.received = signal.Signals(number)
        self._restore_handlers()
        self.report.say(f"{self.received.name}: saving; once more to leave at once")

    def _stopping(self):
        """Whether a worker was asked to stop: then all do, after the same step."""
        number = max(self.workers.everyones([self.received or 0])[:, 0])
        self.stopped_by = signal.Signals(number) if number else None
        return bool(number)

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
            most=self.growing.now.max_batch_per_device,
        )
        self._traced = {}  # name of a phase: seconds of its first call
        if self.gallery:
            self.gallery.retrace()

    def _tick(self):
        """Steps up to the end of a tick, then looks at them."""
        tick, end = self.growing.tick(self.cur_nimg)
        end = min(end, self._total)
        results = collections.defaultdict(list)
        began, first_nimg = time.monotonic(), self.cur_nimg
        waited = retrace = 0.0
        while not self._stopping() and self.cur_nimg < end:
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
        seconds = time.monotonic() - began
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
            batches = stream.batches(
                self.source,
                self.strategy,
                self.workers,
                batch_size=self.steps.batch_size,
                seed=self.config.seed,
                start_image=self.cur_nimg,
                mirror=self.config.data.mirror,
            )
            self._stream = self.steps.batch_size, batches
        return pipeline.next_of(self._stream[1])

    def _step(self, batch):
        """One training step; returns what its phases tell."""
        results = {}
        self.cur_nimg += self.steps.batch_size
        for name, phase in self.steps.phases(batch, self.step, self.cur_nimg):
            began = time.monotonic()
            results |= phase()
            self._traced.setdefault(name, time.monotonic() - began)
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
        if self.workers.is_chief and (over or due(train.image_ticks)):
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
            if self.workers.is_chief and not self.received:
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
        """Writes a checkpoint unless this one is there; raises OSError.

        Raises workers.Differ where the replicas are not equal; nothing is written then.
        """
        self.workers.check_equal(self.state.variables(), self.cur_nimg)
        if self._saved == self.cur_nimg:
            return
        self.state.step.assign(self.step)
        self.state.cur_nimg.assign(self.cur_nimg)
        keep, number = self.config.train.keep_checkpoints, self.cur_nimg
        if self.workers.is_chief:
            checkpoints.write(self.checkpoint, self.checkpoints, number, keep=keep)
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
        if self._stopping() or not self.workers.is_chief:
            return  # where it was stopped, the same command finishes
        networks = storage.Networks(
            G=self.state.g, D=self.state.d, G_ema=self.state.g_ema, config=self.config
        )
        storage.save_networks(self.workdir / "model", networks)

    def _finished(self):
        """Whether the model directory, written last, is of the newest checkpoint."""
        if not self.workers.is_chief:
            return False
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
