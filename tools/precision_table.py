"""float32, bfloat16 and float16 side by side: speed, memory and what they learn.

    python tools/precision_table.py --outdir=runs/precision
        [--config=configs/digits32.py] [--dtypes=float32,bfloat16,float16]
        [--kimg=100] [--seeds=0,1,2] [--rounds=5]

Trains the configuration with each type and seed, one after the other, with `python -m
tfstylegan.train`, each in a folder of outdir of its own, where the same command goes
on; then lets the types take turns for `rounds` cycles of at least 16 steps. Prints a
Markdown table: images/s relative to the first type (median of the ratios), peak memory
of those cycles, pixel_frechet after `kimg` of each seed, their mean and its ratio to
that of the first type. --kimg=0 measures speed and memory only.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import copy
import json
import subprocess

import numpy as np
from absl import flags
from trainer import Trainer

from tfstylegan import cli

ROOT = pathlib.Path(__file__).resolve().parents[1]
METRIC = "metric/pixel_frechet"


def main(argv):
    del argv
    kimg, names = flags.FLAGS.kimg, flags.FLAGS.dtypes
    with cli.one_sentence():
        configs = {name: configured(flags.FLAGS.config, name, kimg) for name in names}
        seeds = seeds_of(flags.FLAGS.seeds)
        outdir = pathlib.Path(flags.FLAGS.outdir)
        cli.check_outdir(outdir)
    outdir.mkdir(parents=True, exist_ok=True)
    distances = {}
    for seed in seeds if kimg else ():  # all types of a seed first: a broken-off
        for name in names:  # table still compares
            workdir = outdir / f"{name}_{seed}"
            distances[name, seed] = train(configs[name], seed, workdir)
    speeds, memory = measure([configs[name] for name in names], flags.FLAGS.rounds)
    head = ["precision", f"images/s, {names[0]} = 1", "peak GiB"]
    if kimg:
        head += [f"seed {seed}" for seed in seeds]
        head += [f"mean pixel_frechet after {kimg:g} kimg", f"{names[0]} = 1"]
    print(line(head))
    print("|---" + "|---:" * (len(head) - 1) + "|")
    for name, speed, peak in zip(names, speeds, memory, strict=True):
        cells = [f"`{name}`", f"{speed:.2f}", f"{peak:.2f}"]
        if kimg:
            of_type, first = (
                [distances[which, seed] for seed in seeds] for which in (name, names[0])
            )
            mean = np.mean(of_type)
            cells += [f"{distance:.3f}" for distance in of_type]
            cells += [f"{mean:.3f}", f"{mean / np.mean(first):.3f}"]
        print(line(cells), flush=True)


def configured(config, dtype, kimg):
    """A copy of the configuration for a type and a length of the run."""
    config = copy.deepcopy(config)
    config.precision.dtype = dtype
    if kimg:
        config.train.total_kimg = kimg
        config.train.metrics = tuple({*config.train.metrics, "pixel_frechet"})
    return config.validate()


def seeds_of(texts):
    """Integers of a flag's list; raises ValueError."""
    if not texts or not all(text.isdecimal() for text in texts):
        raise ValueError(f"--seeds must be integers of at least 0; got {texts}")
    return [int(text) for text in texts]


def train(config, seed, workdir):
    """Trains, or goes on; returns the Frechet distance at the end."""
    config = copy.deepcopy(config)
    config.seed = seed
    workdir.mkdir(exist_ok=True)
    folder = workdir.with_name(f"{workdir.name}_config")
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(config.validate().to_json())
    command = [sys.executable, "-m", "tfstylegan.train"]
    command += [f"--config={folder.resolve()}", f"--workdir={workdir.resolve()}"]
    done = subprocess.run(command, cwd=ROOT, stdout=sys.stderr, check=False)
    if done.returncode:
        sys.exit(f"error: training {workdir} ended with status {done.returncode}")
    lines = map(json.loads, (workdir / "stats.jsonl").read_text().splitlines())
    return [line[METRIC] for line in lines if METRIC in line][-1]


def measure(configs, rounds):
    """(speeds relative to the first, peaks of memory in GiB) of configurations."""
    trainers = [Trainer(config) for config in configs]
    for trainer in trainers:
        trainer.ask("cycle")  # traces and warms up
    seconds = np.array(
        [[trainer.ask("cycle") for trainer in trainers] for _ in range(rounds)]
    )
    memory = [trainer.ask("memory") for trainer in trainers]
    for trainer in trainers:
        trainer.close()
    return np.median(seconds[:, :1] / seconds, axis=0), memory


def line(cells):
    return f"| {' | '.join(map(str, cells))} |"


if __name__ == "__main__":
    cli.define_config()
    cli.define_outdir("Folder of the runs, one for each type and seed.")
    flags.DEFINE_list(
        "dtypes", ["float32", "bfloat16", "float16"], "Values of precision.dtype."
    )
    flags.DEFINE_float("kimg", 100.0, "Length of each run; 0 trains nothing.", 0.0)
    flags.DEFINE_list("seeds", ["0", "1", "2"], "Seeds of the runs.")
    flags.DEFINE_integer("rounds", 5, "Timed cycles of each type.", 1)
    cli.run(main)
