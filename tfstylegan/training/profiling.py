"""Traces of single ticks for TensorBoard's profiler."""

import contextlib

import tensorflow as tf

STEPS = 16  # of a tick, the first ones: a cycle of the usual lazy regularisers


class Profiler:
    """Traces the first steps of some ticks; does nothing in the others.

    Args:
      folder: where TensorBoard looks.
      ticks: numbers of those to trace.
    """

    def __init__(self, folder, ticks):
        self.folder = str(folder)
        self.ticks = frozenset(ticks)
        self._left = 0  # steps of this trace

    @contextlib.contextmanager
    def tick(self, number):
        """Around a tick: no trace outlives it."""
        if number in self.ticks:
            tf.profiler.experimental.start(self.folder)
            self._left = STEPS
        try:
            yield
        finally:
            self._stop()

    @contextlib.contextmanager
    def step(self, number):
        """Around a training step, which the trace shows as one."""
        if not self._left:
            yield
            return
        with tf.profiler.experimental.Trace("train", step_num=number, _r=1):
            yield
        self._left -= 1
        if not self._left:
            tf.profiler.experimental.stop()

    def _stop(self):
        if self._left:
            self._left = 0
            tf.profiler.experimental.stop()
