"""Whole cycles of lazy regularisation, for the benchmarks: training without reports.

A cycle has 16 steps, or what makes whole intervals of both networks' regularisers; a
growing network trains at its full resolution.
"""

import math
import resource
import time

import numpy as np

_MATRIX = 1024  # side of the matrix product


class Cycles:
    """The real steps of training on random images."""

    def __init__(self, config):
        from tfstylegan.data import pipeline, sources
        from tfstylegan.training import devices, precision, state, steps

        self.config = config
        precision.prepare(config.precision)
        strategy = devices.strategy(config)
        with strategy.scope():
            self.state = state.create(config, 0)
        self.steps = steps.Steps(self.state, config, strategy)
        size = (4 * config.train.batch_size, *config.data.image_size)
        pixels = np.random.default_rng(0).integers(
            256, size=(*size, config.data.channels), dtype=np.uint8
        )
        source = sources.ArraySource(
            pixels,
            np.zeros([len(pixels), 0], np.float32),
            description="random pixels",
            fingerprint="",
        )
        stream = pipeline.training_stream(
            source, batch_size=config.train.batch_size, seed=0
        )
        self.batches = iter(strategy.experimental_distribute_dataset(stream))
        g_interval, d_interval = state.lazy_intervals(config.loss)
        self.steps_of_one = math.lcm(16, g_interval or 1, d_interval or 1)
        self.images_of_one = self.steps_of_one * config.train.batch_size
        self.seconds = {}
        self.done = 0

    def run(self):
        """One cycle: all phases in their proportion."""
        self.done += 1
        if self.done == 2:
            self.seconds.clear()  # without the first, which traces
        for step in range(self.steps_of_one):
            batch = self._timed("data", lambda: next(self.batches))
            for name, phase in self.steps.phases(batch, step, cur_nimg=0):
                self._timed(name, phase)

    def _timed(self, name, function):
        start = time.perf_counter()
        result = function()
        if name in ("g_main", "g_reg", "d_main", "d_reg"):
            next(iter(result.values())).numpy()  # waits for the device
        elapsed = time.perf_counter() - start
        self.seconds[name] = self.seconds.get(name, 0.0) + elapsed
        return result

    def phases(self, images):
        """Seconds per kimg of each phase."""
        kimg = images * (self.done - 1) / 1000
        parts = [f"{name} {s / kimg:.2f}" for name, s in self.seconds.items()]
        return ", ".join(parts)


def peak_gib():
    """Peak of this process' resident memory."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def matmul_gflops():
    """Speed of a float32 matrix product, 1024 x 1024."""
    import tensorflow as tf

    a = tf.random.stateless_normal([_MATRIX, _MATRIX], [0, 1]) / 32

    @tf.function
    def product(a):
        return tf.matmul(a, a)

    product(a)
    seconds = []
    for _ in range(20):
        start = time.perf_counter()
        product(a).numpy()
        seconds.append(time.perf_counter() - start)
    return 2 * _MATRIX**3 / np.median(seconds) / 1e9
