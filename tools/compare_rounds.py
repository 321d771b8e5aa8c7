"""What gradient accumulation costs: batches in rounds against batches in one piece.

    python tools/compare_rounds.py --config=configs/yardstick64.py [--rounds=2]
        [--cycles=5]

The same batch is trained at once by one process and in `rounds` rounds by another
(train.max_batch_per_device); they take turns, a whole cycle of lazy regularisation
each, so that a machine that slows down slows both. Prints the times of a cycle, the
peak of resident memory, and the ratios: of the times the median of all turns.
"""

import copy
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import numpy as np
from absl import flags
from trainer import Trainer

from tfstylegan import cli


def main(argv):
    del argv
    rounds = flags.FLAGS.rounds
    with cli.one_sentence():
        whole = flags.FLAGS.config
        whole.train.max_batch_per_device = 0
        batch = whole.validate().train.batch_size
        if batch % rounds or batch // rounds < whole.discriminator.mbstd_group_size:
            raise ValueError(
                f"--rounds must divide train.batch_size = {batch} into whole minibatch-"
                f"stddev groups; got {rounds}"
            )
        parts = copy.deepcopy(whole)
        parts.train.max_batch_per_device = batch // rounds
    trainers = [Trainer(config) for config in (parts, whole)]
    for trainer in trainers:
        trainer.ask("cycle")  # traces and warms up
    seconds = np.array(
        [
            [trainer.ask("cycle") for trainer in trainers]
            for _ in range(flags.FLAGS.cycles)
        ]
    )
    memory = [trainer.ask("memory") for trainer in trainers]
    for trainer in trainers:
        trainer.close()
    print(f"| | {rounds} rounds | at once | ratio |\n|---|---:|---:|---:|")
    ratio = np.median(seconds[:, 0] / seconds[:, 1])
    row("seconds of a cycle", *np.median(seconds, axis=0), ratio)
    row("peak memory, GiB", *memory, memory[0] / memory[1])


def row(name, *numbers):
    print(f"| {name} | {' | '.join(f'{number:.3f}' for number in numbers)} |")


if __name__ == "__main__":
    cli.define_config()
    flags.DEFINE_integer("rounds", 2, "Rounds that each batch is worked off in.", 2)
    flags.DEFINE_integer("cycles", 5, "Cycles that each process is timed for.", 1)
    cli.run(main)
