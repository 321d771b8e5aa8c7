"""Training speed: whole cycles of lazy regularisation (16 steps), on this machine.

    python tools/bench_training.py --config=configs/yardstick32.py

Prints images/s, seconds per kimg, peak memory and images/s per GFLOP/s of a float32
matrix product measured in the same run, which compares machines of unlike speed.
"""

import math
import pathlib
import resource
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import numpy as np
from absl import flags

from tfstylegan import cli

_CONFIG = cli.define_config()
_CYCLES = flags.DEFINE_integer("cycles", 3, "Timed cycles of 16 steps.", 1)
_MATRIX = 1024  # side of the matrix product


def main(argv):
    del argv
    with cli.one_sentence():
        config = _CONFIG.value.validate()
    from tfstylegan import ops
    from tfstylegan.training import allocator

    allocator.keep_freed_memory()
    bench = Bench(config)
    bench.cycle()  # traces and warms up
    gflops, seconds = [matmul_gflops()], []
    for _ in range(_CYCLES.value):
        start = time.perf_counter()
        bench.cycle()
        seconds.append(time.perf_counter() - start)
        gflops.append(matmul_gflops())
    images = bench.cycle_steps * config.train.batch_size
    speed = images / np.median(seconds)
    name = pathlib.Path(flags.FLAGS["config"].config_filename).stem
    print(f"config                    {name}, ops: {ops.library.describe()}")
    print(f"images/s                  {speed:.2f}")
    print(f"seconds per kimg          {1000 / speed:.2f}")
    print(f"of it by phase            {bench.phases(images)}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak memory               {peak:.2f} GiB")
    print(f"matrix product            {np.median(gflops):.0f} GFLOP/s")
    print(f"images/s per GFLOP/s      {speed / np.median(gflops):.4f}")


class Bench:
    """Training without reports: the real steps on random images."""

    def __init__(self, config):
        from tfstylegan.data import pipeline, sources
        from tfstylegan.training import loop, state, steps

        self.config = config
        strategy = loop.mirrored_strategy(config)
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
        loss = config.loss
        self.cycle_steps = math.lcm(
            loss.r1_interval if loss.r1_gamma else 1,
            loss.pl_interval if loss.pl_weight else 1,
        )
        self.seconds = {}
        self.cycles = 0

    def cycle(self):
        """All phases in their proportion."""
        self.cycles += 1
        if self.cycles == 2:
            self.seconds.clear()  # without the first, which traces
        for step in range(self.cycle_steps):
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
        kimg = images * (self.cycles - 1) / 1000
        parts = [f"{name} {s / kimg:.2f}" for name, s in self.seconds.items()]
        return ", ".join(parts)


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


if __name__ == "__main__":
    cli.run(main)
