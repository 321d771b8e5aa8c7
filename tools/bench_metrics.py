"""Speed and memory of the metrics' mathematics, each figure beside its bound.

    python tools/bench_metrics.py [--features=50000] [--samples=10000] [--rounds=3]

Mean and covariance of 2048 features in batches of 64, as FID gathers them, in turn with
one product X^T X of the same features in float64, which NumPy computes as the symmetric
one it is; the Frechet distance of two such Gaussians; precision and recall of two sets
of 4096 features, with the peak memory of a process of their own.

Seconds are of the clock on the wall and, which tells more where others work on the
machine, of processors (all threads').
"""

import multiprocessing
import pathlib
import resource
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import numpy as np
from absl import flags

from tfstylegan import cli
from tfstylegan.metrics import features, fid, precision_recall

INCEPTION, VGG16 = 2048, 4096  # dims
BATCH = 64
ROW = "{:<44}{:>9}{:>12}   {:<24}{}"


def main(argv):
    del argv
    count, samples = flags.FLAGS.features, flags.FLAGS.samples
    x = np.random.default_rng(0).standard_normal([count, INCEPTION], np.float32)
    times = []
    for _ in range(flags.FLAGS.rounds):
        alone = product(x)
        gathered, running = statistics(x)
        times.append((alone, gathered))
    times = np.array(times)  # [rounds, product and statistics, wall and processor]
    wall, processor = np.median(times[:, 0] / times[:, 1], axis=0)
    distance = frechet_distance(running.mean, running.covariance())
    del x, running
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        manifolds, peak = pool.apply(precision_and_recall, [samples])

    print(ROW.format("what", "wall s", "processor s", "measured", "to be"))
    size = f"{count:,} x {INCEPTION}"
    alone, gathered = np.median(times, axis=0)
    show(f"product of {size}", alone)
    ratio = f"{wall:.2f}, {processor:.2f} of its rate"
    show(f"mean and covariance of {size}", gathered, ratio, "at least 0.70")
    show(f"Frechet distance of {INCEPTION} features", distance, "", "under 60 s")
    what = f"precision, recall of {samples:,} x {samples:,} x {VGG16}"
    show(what, manifolds, f"{peak:.2f} GiB at most", "under 3 GiB")


def show(what, seconds, measured="", bound=""):
    print(ROW.format(what, *(f"{s:.2f}" for s in seconds), measured, bound))


def now():
    """Seconds on the wall, and of processors."""
    return np.array([time.perf_counter(), time.process_time()])


def product(x):
    """Seconds of one product; the conversion to float64 is not counted."""
    x = x.astype(np.float64)
    start = now()
    x.T @ x
    return now() - start


def statistics(x):
    """(seconds, `features.RunningStatistics`) of batches."""
    running = features.RunningStatistics(INCEPTION, block=features.BLOCK)
    start = now()
    for i in range(0, len(x), BATCH):
        running.update(x[i : i + BATCH])
    running.covariance()
    return now() - start, running


def frechet_distance(mean, covariance):
    """Seconds of one distance."""
    other = covariance[::-1, ::-1] * 1.1
    start = now()
    fid.frechet_distance(mean, covariance, mean[::-1], other)
    return now() - start


def precision_and_recall(samples):
    """(seconds, peak memory of the process in GiB)."""
    random = np.random.default_rng(1)
    real, fake = (random.standard_normal([samples, VGG16], np.float32) for _ in "rf")
    start = now()
    precision_recall.precision_recall(real, fake, k=3)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return now() - start, peak


if __name__ == "__main__":
    flags.DEFINE_integer("features", 50_000, "Features of which statistics are.", 2)
    flags.DEFINE_integer("samples", 10_000, "Features of each manifold.", 4)
    flags.DEFINE_integer("rounds", 3, "Of product and statistics, in turn.", 1)
    cli.run(main)
