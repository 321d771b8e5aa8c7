"""Speed of the data pipeline on this machine, each figure against its yardstick.

    python tools/bench_data.py [--images=1024] [--seconds=5]

Three rounds of three measurements in turn, in images a second by the clock:

- Pillow alone: as many processes as there are cores read 256x256 JPEG files (made for
  this: smooth colours with grain, quality 90) and decode them into arrays, which they
  drop; nothing is sent between processes.
- The training stream of the same files, batch 32, decoded on demand, up to the tensor
  that a training step would take. Nobody works on it.
- The training stream of the built-in digits at 32x32, which are cached.

Prints the median of each, and of the ratios within a round. The ratio needs a quiet
machine: the stream has one process more, so on a busy one it gets more of the cores.
"""

import io
import multiprocessing
import pathlib
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import numpy as np
from absl import flags
from PIL import Image

from tfstylegan import cli

SIZE, BATCH, ROUNDS = 256, 32, 3


def main(argv):
    del argv
    from tfstylegan.data import parallel, sources

    cores = parallel.available_cores()
    seconds = flags.FLAGS.seconds
    with (
        tempfile.TemporaryDirectory() as folder,
        multiprocessing.get_context("spawn").Pool(cores) as pool,
    ):
        files = write_jpegs(pathlib.Path(folder), flags.FLAGS.images)
        shape = {"height": SIZE, "width": SIZE, "channels": 3}
        on_demand = sources.open_source(folder, **shape, cache_bytes=0)
        digits = sources.open_source("digits", height=32, width=32, channels=1)
        decode(files[0])  # Pillow and the pool have started
        pool.map(decode, files)
        rounds = [
            (
                pillow_rate(pool, files, seconds),
                stream_rate(on_demand, seconds),
                stream_rate(digits, seconds),
            )
            for _ in range(ROUNDS)
        ]
    pillow, ours, cached = np.median(rounds, axis=0)
    ratio = np.median([stream / alone for alone, stream, _ in rounds])
    print(f"Pillow, {cores} processes   {pillow:10,.0f} images/s")
    print(f"folder of JPEG files    {ours:10,.0f} images/s, {ratio:.2f} of Pillow's")
    print(f"cached 32x32            {cached:10,.0f} images/s")


def write_jpegs(folder, count):
    """Files of smooth colours with grain, and their paths."""
    random = np.random.default_rng(0)
    paths = [folder / f"{i:05d}.jpg" for i in range(count)]
    for path in paths:
        small = random.integers(256, size=[8, 8, 3], dtype=np.uint8)
        picture = Image.fromarray(small).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
        grain = random.normal(scale=6, size=[SIZE, SIZE, 3])
        pixels = np.clip(np.asarray(picture) + grain, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(path, quality=90)
    return paths


def decode(path):
    """Pillow alone: the file's pixels; returns one of them, not to send all back."""
    with Image.open(io.BytesIO(path.read_bytes())) as image:
        return int(np.asarray(image)[0, 0, 0])


def pillow_rate(pool, files, seconds):
    """Images a second that the processes of the pool decode."""
    start, done = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        pool.map(decode, files, chunksize=8)  # all are busy until close to its end
        done += len(files)
    return done / (time.perf_counter() - start)


def stream_rate(source, seconds):
    """Images a second of the training stream, batch after batch."""
    from tfstylegan.data import pipeline

    batches = iter(pipeline.training_stream(source, batch_size=BATCH, seed=0))
    for _ in range(4):
        next(batches)  # traced, buffers full
    start, done = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        next(batches)
        done += BATCH
    return done / (time.perf_counter() - start)


if __name__ == "__main__":
    flags.DEFINE_integer("images", 1024, "JPEG files.", 64)
    flags.DEFINE_float("seconds", 5.0, "Length of each measurement.", 0.1)
    cli.run(main)
