"""Training with the compiled ops against training with their twins, cycle by cycle.

    python tools/compare_ops.py --config=configs/yardstick64.py [--cycles=5]

Each implementation trains in a process of its own; they take turns, a whole cycle of
lazy regularisation each, so that a machine that slows down slows both. Prints the times
of a cycle, the peak of resident memory, the ratios, and where a cycle's time goes by
TensorFlow's profiler: seconds in ops of each type, compiled and twins, which overlap
where ops run side by side.
"""

import collections
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import numpy as np
from absl import flags
from training_cycles import Cycles, peak_gib

from tfstylegan import cli

IMPLEMENTATIONS = ("compiled", "reference")
_TYPES = 20  # of ops that the table names


def main(argv):
    with cli.one_sentence():
        config = flags.FLAGS.config.validate()
    if flags.FLAGS.trainer:
        serve(config)
        return
    trainers = [Trainer(argv, name) for name in IMPLEMENTATIONS]
    for trainer in trainers:
        trainer.ask("cycle")  # traces and warms up
    seconds = [
        [trainer.ask("cycle") for trainer in trainers]
        for _ in range(flags.FLAGS.cycles)
    ]
    memory = [trainer.ask("memory") for trainer in trainers]
    profiles = [trainer.ask("profile") for trainer in trainers]
    for trainer in trainers:
        trainer.close()
    seconds = np.array(seconds)
    print("| | compiled | twins | ratio |\n|---|---:|---:|---:|")
    ratio = np.median(seconds[:, 0] / seconds[:, 1])
    row("seconds of a cycle", *np.median(seconds, axis=0), ratio)
    row("peak memory, GiB", *memory, memory[0] / memory[1])
    print("\n| seconds in ops of type | compiled | twins |\n|---|---:|---:|")
    for name, *of_type in by_type(profiles):
        row(name, *of_type)


def by_type(profiles):
    """(type of op, its seconds in each profile), the longest first, then sums."""
    longest = collections.Counter()
    for profile in profiles:
        longest |= collections.Counter(profile)
    named = [name for name, _ in longest.most_common(_TYPES)]
    table = [(name, *(p.get(name, 0.0) for p in profiles)) for name in named]
    rest = [sum(s for n, s in p.items() if n not in named) for p in profiles]
    everything = [sum(p.values()) for p in profiles]
    return [*table, ("the rest", *rest), ("all", *everything)]


def row(label, *numbers):
    print(f"| {label} | {' | '.join(f'{number:.3f}' for number in numbers)} |")


class Trainer:
    """A process that trains with one implementation when it is asked to."""

    def __init__(self, argv, implementation):
        self._process = subprocess.Popen(
            [sys.executable, *sys.argv, "--trainer"],
            env={**os.environ, "TFSTYLEGAN_OPS": implementation},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, request):
        self._process.stdin.write(request + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            sys.exit(f"error: a trainer ended with status {self._process.wait()}")
        return json.loads(answer)

    def close(self):
        self._process.stdin.close()
        self._process.wait()


def serve(config):
    """Answers the requests on standard input, one JSON value a line."""
    from tfstylegan.training import allocator

    allocator.keep_freed_memory()
    cycles = Cycles(config)
    answers = {
        "cycle": lambda: seconds_of(cycles.run),
        "memory": peak_gib,
        "profile": lambda: seconds_by_type(cycles.run),
    }
    for request in sys.stdin:
        print(json.dumps(answers[request.strip()]()), flush=True)


def seconds_of(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def seconds_by_type(function):
    """{type of op: seconds in its kernels} of a call."""
    import tensorflow as tf
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    with tempfile.TemporaryDirectory() as folder:
        with tf.profiler.experimental.Profile(folder):
            function()
        (path,) = pathlib.Path(folder).rglob("*.xplane.pb")
        space = xplane_pb2.XSpace.FromString(path.read_bytes())
    seconds = collections.Counter()
    for plane in space.planes:
        # Events of kernels are named "node:type" and display the type.
        types = {
            key: data.display_name
            for key, data in plane.event_metadata.items()
            if data.display_name and data.name.endswith(f":{data.display_name}")
        }
        for line in plane.lines:
            for event in line.events:
                if event.metadata_id in types:
                    seconds[types[event.metadata_id]] += event.duration_ps / 1e12
    return seconds


if __name__ == "__main__":
    cli.define_config()
    flags.DEFINE_integer("cycles", 5, "Timed cycles of each implementation.", 1)
    flags.DEFINE_bool("trainer", False, "Set for the processes that train.")
    cli.run(main)
