"""Training with the compiled ops against training with their twins, cycle by cycle.

    python tools/compare_ops.py --config=configs/yardstick64.py [--cycles=5]

Each implementation trains in a process of its own; they take turns, a whole cycle of
lazy regularisation each, so that a machine that slows down slows both. Prints the times
of a cycle, the peak of resident memory, the ratios, and where a cycle's time goes by
TensorFlow's profiler: seconds in ops of each type, compiled and twins, which overlap
where ops run side by side.
"""

import collections
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import numpy as np
from absl import flags
from trainer import Trainer

from tfstylegan import cli

IMPLEMENTATIONS = ("compiled", "reference")
_TYPES = 20  # of ops that the table names


def main(argv):
    del argv
    with cli.one_sentence():
        config = flags.FLAGS.config.validate()
    trainers = [Trainer(config, TFSTYLEGAN_OPS=name) for name in IMPLEMENTATIONS]
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


if __name__ == "__main__":
    cli.define_config()
    flags.DEFINE_integer("cycles", 5, "Timed cycles of each implementation.", 1)
    cli.run(main)
