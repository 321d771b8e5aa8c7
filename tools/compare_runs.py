"""Variants of one configuration, trained with several seeds: who is better, by a table.

    python tools/compare_runs.py --config=configs/digits16_ada.py --outdir=runs/ada
        --variants="none:augment.mode=none;adaptive:augment.mode=adaptive"
        --metrics=classifier_fid1k [--seeds=0,1,2] [--kimg=100] [--jobs=2] [--rounds=0]

A variant is a name and what it changes of the configuration: fields as on the command
line, with commas between them; variants are separated by semicolons, and the first is
the one that others are compared with. All are trained with every seed by `python -m
tfstylegan.train`, each in a folder of outdir of its own, where the same command goes
on; --jobs trains so many at once and gives each its share of the cores. What a run says
goes to train.log beside its configuration.

Prints a Markdown table of the first value of each metric: of each seed, their mean, its
ratio to that of the first variant, and last which variant was best with each seed. With
--rounds variants also take turns for so many cycles of at least 16 steps: images/s
relative to the first (median of the ratios) and peak memory. --kimg=0 measures speed
only. Number types, for example:

    python tools/compare_runs.py --outdir=runs/types --rounds=5 --variants="float32:;
        bfloat16:precision.dtype=bfloat16;float16:precision.dtype=float16"
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import concurrent.futures
import copy
import json
import os
import re
import subprocess
import tempfile

import numpy as np
from absl import flags
from trainer import Trainer

from tfstylegan import cli, metric_names
from tfstylegan import config as config_lib

ROOT = pathlib.Path(__file__).resolve().parents[1]


def main(argv):
    del argv
    kimg, metrics, rounds = flags.FLAGS.kimg, flags.FLAGS.metrics, flags.FLAGS.rounds
    with cli.one_sentence():
        if not (kimg or rounds):
            raise ValueError("--rounds must be at least 1 where --kimg is 0; got 0")
        check_metrics(metrics)
        seeds = seeds_of(flags.FLAGS.seeds)
        configs = {
            name: configured(flags.FLAGS.config, name, changes, kimg, metrics)
            for name, changes in variants_of(flags.FLAGS.variants).items()
        }
        outdir = pathlib.Path(flags.FLAGS.outdir)
        cli.check_outdir(outdir)
    outdir.mkdir(parents=True, exist_ok=True)
    if kimg:
        with cli.one_sentence(RuntimeError):
            found = train_all(configs, seeds, metrics, outdir, flags.FLAGS.jobs)
            check_detectors(found, metrics)
        for metric in metrics:
            print(f"{metric} after {kimg:g} kimg\n")
            print(table(metric, list(configs), seeds, found), end="\n\n", flush=True)
    if rounds:
        print(speeds(configs, rounds))


def check_metrics(names):
    if not names:
        raise ValueError("--metrics must name one or more; got none")
    for name in names:
        if not metric_names.parse(name).ranks:
            raise ValueError(f"--metrics must tell which is better; {name} does not")


def seeds_of(texts):
    """Integers of a flag's list; raises ValueError."""
    if not texts or not all(text.isdecimal() for text in texts):
        raise ValueError(f"--seeds must be integers of at least 0; got {texts}")
    return [int(text) for text in texts]


def variants_of(text):
    """{name: [field=value]} of "a:x.y=1,x.z=(2,3);b:"; raises ValueError."""
    variants = {}
    for part in filter(None, map(str.strip, text.split(";"))):
        name, colon, changes = map(str.strip, part.partition(":"))
        if not colon or not re.fullmatch(r"[\w.+-]+", name) or name in variants:
            raise ValueError(
                "--variants must be NAME:FIELD=VALUE,FIELD=VALUE;NAME:..., each name "
                f"once; got {part!r}"
            )
        # A comma inside of a value has no field behind it.
        variants[name] = re.split(r",(?=\s*[\w.]+=)", changes) if changes else []
    if not variants:
        raise ValueError("--variants must name one or more; got none")
    return variants


def configured(config, name, changes, kimg, metrics):
    """The configuration of a variant, changed as the training command would."""
    config = copy.deepcopy(config)
    if kimg:
        config.train.total_kimg = kimg
        config.train.metrics = tuple(dict.fromkeys((*config.train.metrics, *metrics)))
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "config.json").write_text(config.validate().to_json())
        command = [sys.executable, "-m", "tfstylegan.train", f"--config={folder}"]
        command += [f"--config.{change.strip()}" for change in changes]
        done = subprocess.run(
            [*command, "--dry_run"], cwd=ROOT, capture_output=True, text=True
        )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ValueError(f"variant {name}: {last.removeprefix('error: ')}")
    return config_lib.from_json(done.stdout)


def train_all(configs, seeds, metrics, outdir, jobs):
    """{(variant, seed): what `train` gives}; raises RuntimeError where a run fails."""
    pool = concurrent.futures.ThreadPoolExecutor(jobs)
    runs = {}
    for seed in seeds:  # all variants of a seed first: a broken-off table compares
        for name, config in configs.items():
            config = copy.deepcopy(config)
            config.seed = seed
            workdir = outdir / f"{name}_{seed}"
            runs[name, seed] = pool.submit(train, config, workdir, metrics, jobs)
    try:
        return {key: run.result() for key, run in runs.items()}
    finally:
        pool.shutdown(cancel_futures=True)


def train(config, workdir, metrics, jobs):
    """Trains, or goes on; returns {metric: its line in metrics.jsonl at the end}."""
    folder = workdir.with_name(f"{workdir.name}_config")
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(config.validate().to_json())
    command = [sys.executable, "-m", "tfstylegan.train"]
    command += [f"--config={folder.resolve()}", f"--workdir={workdir.resolve()}"]
    print(f"training {workdir}", file=sys.stderr, flush=True)
    with (folder / "train.log").open("ab") as log:
        done = subprocess.run(
            command, cwd=ROOT, stdout=log, stderr=log, env=environment(jobs)
        )
    if done.returncode:
        raise RuntimeError(
            f"training {workdir} ended with status {done.returncode}: see {log.name}"
        )
    file = workdir / "metrics.jsonl"
    lines = map(json.loads, file.read_text().splitlines() if file.exists() else ())
    end = round(config.train.total_kimg * 1000)
    found = {
        line["metric"]: line
        for line in lines
        if line.get("during") == "training" and line["cur_nimg"] >= end
    }
    for name in metrics:
        if name not in found:
            raise RuntimeError(
                f"{workdir} has not measured {name} at its end: see {log.name}"
            )
    return found


def check_detectors(found, metrics):
    """Raises RuntimeError where a metric did not see with the same network in all runs.

    A classifier that two processes have trained at the same time is not the same.
    """
    for name in metrics:
        seen = {json.dumps(lines[name]["detector"]) for lines in found.values()}
        if len(seen) > 1:
            raise RuntimeError(
                f"{name} of these runs does not compare; detectors: {', '.join(seen)}"
            )


def environment(jobs):
    """Variables of a run that has as many cores as others have."""
    if jobs == 1:
        return dict(os.environ)
    threads = str(max(1, (os.cpu_count() or 1) // jobs))
    names = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OPENBLAS_NUM_THREADS")
    return os.environ | dict.fromkeys(names, threads)


def table(metric, names, seeds, found):
    """Markdown of one metric, a row for each variant of what `train_all` found."""
    values = np.array(
        [[found[name, seed][metric]["value"] for seed in seeds] for name in names]
    )
    means = values.mean(axis=1)
    more = metric_names.parse(metric).more_is_better
    best = values.argmax(axis=0) if more else values.argmin(axis=0)
    rows = [["variant", *(f"seed {seed}" for seed in seeds), "mean", f"{names[0]} = 1"]]
    rows.append(["---"] + ["---:"] * (len(seeds) + 2))
    for name, of_seeds, mean in zip(names, values, means, strict=True):
        cells = [f"{value:.4g}" for value in (*of_seeds, mean)]
        rows.append([f"`{name}`", *cells, f"{mean / means[0]:.3f}"])
    word = "most" if more else "least"
    rows.append([f"best ({word})", *(f"`{names[i]}`" for i in best), "", ""])
    return markdown(rows)


def speeds(configs, rounds):
    """Markdown of speed relative to the first variant, and of memory."""
    trainers = [Trainer(config) for config in configs.values()]
    for trainer in trainers:
        trainer.ask("cycle")  # traces and warms up
    images = np.array([trainer.ask("images") for trainer in trainers])
    seconds = np.array(
        [[trainer.ask("cycle") for trainer in trainers] for _ in range(rounds)]
    )
    memory = [trainer.ask("memory") for trainer in trainers]
    for trainer in trainers:
        trainer.close()
    rates = images / seconds  # [rounds, variants]
    ratios = np.median(rates / rates[:, :1], axis=0)
    rows = [["variant", f"images/s, {next(iter(configs))} = 1", "peak GiB"]]
    rows.append(["---", "---:", "---:"])
    for name, ratio, peak in zip(configs, ratios, memory, strict=True):
        rows.append([f"`{name}`", f"{ratio:.2f}", f"{peak:.2f}"])
    return markdown(rows)


def markdown(rows):
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in rows)


if __name__ == "__main__":
    cli.define_config()
    cli.define_outdir("Folder of the runs, one for each variant and seed.")
    flags.DEFINE_string(
        "variants", None, "NAME:FIELD=VALUE,...;NAME:... to be compared.", required=True
    )
    flags.DEFINE_list("seeds", ["0", "1", "2"], "Seeds of the runs.")
    flags.DEFINE_list("metrics", ["pixel_frechet"], "What they are compared by.")
    flags.DEFINE_float("kimg", 100.0, "Length of each run; 0 trains nothing.", 0.0)
    flags.DEFINE_integer("jobs", 1, "Runs at a time.", 1)
    flags.DEFINE_integer("rounds", 0, "Timed cycles of each variant.", 0)
    cli.run(main)
