"""Training speed: whole cycles of lazy regularisation (16 steps), on this machine.

    python tools/bench_training.py --config=configs/yardstick32.py

Prints images/s, seconds per kimg, peak memory and images/s per GFLOP/s of a float32
matrix product measured in the same run, which compares machines of unlike speed.
--config.precision.dtype=bfloat16 measures mixed precision; `compare_runs.py --rounds=5`
lets the types take turns.
"""

import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import numpy as np
from absl import flags
from training_cycles import Cycles, matmul_gflops, peak_gib

from tfstylegan import cli

_CONFIG = cli.define_config()
_CYCLES = flags.DEFINE_integer("cycles", 3, "Timed cycles of 16 steps.", 1)


def main(argv):
    del argv
    with cli.one_sentence():
        config = _CONFIG.value.validate()
    from tfstylegan import ops
    from tfstylegan.training import allocator, precision

    allocator.keep_freed_memory()
    cycles = Cycles(config)
    cycles.run()  # traces and warms up
    gflops, seconds = [matmul_gflops()], []
    for _ in range(_CYCLES.value):
        start = time.perf_counter()
        cycles.run()
        seconds.append(time.perf_counter() - start)
        gflops.append(matmul_gflops())
    images = cycles.images_of_one
    speed = images / np.median(seconds)
    name = pathlib.Path(flags.FLAGS["config"].config_filename).stem
    print(f"config                    {name}, ops: {ops.library.describe()}")
    print(f"precision                 {precision.describe(config.precision)}")
    print(f"images/s                  {speed:.2f}")
    print(f"seconds per kimg          {1000 / speed:.2f}")
    print(f"of it by phase            {cycles.phases(images)}")
    print(f"peak memory               {peak_gib():.2f} GiB")
    print(f"matrix product            {np.median(gflops):.0f} GFLOP/s")
    print(f"images/s per GFLOP/s      {speed / np.median(gflops):.4f}")


if __name__ == "__main__":
    cli.run(main)
