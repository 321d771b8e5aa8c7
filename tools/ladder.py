"""The rows of both papers at small scale: one table of what each of them changes.

    python tools/ladder.py --outdir=runs/ladder [--rows=stylegan1_f,stylegan2_e]
        [--kimg=24] [--rounds=3]

Every row keeps its networks, losses and order of steps, and becomes small enough for a
laptop: the digits at 32x32, grey, a sixteenth of fmap_base, widths of 64, gamma 1; for
all rows the batch size, learning rate and EMA of configs/digits32.py. Growing rows
spend an eighth of the run on each resolution and on each fade.

Trains them one after the other with `python -m tfstylegan.train`, each in a folder of
outdir of its own, where the same command goes on; then lets each take turns with
StyleGAN2's row A for `rounds` cycles of at least 16 steps at the full resolution.
Prints a Markdown table: trainable parameters, images/s relative to row A (median of the
ratios), peak memory of those cycles, and pixel_frechet after `kimg` of training. One
run of one seed: it tells progress from failure, not which row is the best.
"""

import json
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import numpy as np
from absl import flags
from trainer import Trainer

from tfstylegan import cli
from tfstylegan import config as config_lib

ROOT = pathlib.Path(__file__).resolve().parents[1]
BASE = "stylegan2_a"  # the row that speeds are relative to
SMALL = "digits32"  # gives data, optimizer and training
NOT_ROWS = ("digits32", "yardstick", "auto")  # in the names of presets that are no row
METRIC = "metric/pixel_frechet"
COLUMNS = ("row", "G parameters", "D parameters", "images/s, row A = 1", "peak GiB")


def main(argv):
    del argv
    kimg, names = flags.FLAGS.kimg, flags.FLAGS.rows or rows()
    with cli.one_sentence():
        for name in names:
            if name not in rows():
                raise ValueError(f"--rows must be of {', '.join(rows())}; got {name}")
        configs = {name: small(name, kimg)[0] for name in [*names, BASE]}
        outdir = pathlib.Path(flags.FLAGS.outdir)
        cli.check_outdir(outdir)
    distances = {name: train(name, kimg, outdir / name) for name in names}
    base = Trainer(configs[BASE])
    base.ask("cycle")  # traces and warms up
    print(line([*COLUMNS, f"pixel_frechet after {kimg:g} kimg"]))
    print("|---" + "|---:" * len(COLUMNS) + "|")
    for name in names:
        measured = measure(configs[name], base, flags.FLAGS.rounds)
        print(line([f"`{name}`", *measured, f"{distances[name]:.2f}"]), flush=True)
    base.close()


def rows():
    """Names of the presets of published rows."""
    folder = config_lib.preset_path(SMALL).parent
    names = sorted(file.stem for file in folder.glob("*.py"))
    return [name for name in names if not any(word in name for word in NOT_ROWS)]


def small(name, kimg):
    """(Config, flags that make it of the preset) of a row at small scale."""
    config, digits = config_lib.preset(name), config_lib.preset(SMALL)
    changes = {
        "generator.z_dim": digits.generator.z_dim,
        "generator.w_dim": digits.generator.w_dim,
        "loss.r1_gamma": min(config.loss.r1_gamma, digits.loss.r1_gamma),
        "growing.batch_size": (),
        "growing.lr": (),
        "growing.tick_kimg": (),
        "growing.train_kimg": kimg / 8,
        "growing.fade_kimg": kimg / 8,
    }
    for network in ("generator", "discriminator"):
        fmap_base = getattr(config, network).fmap_base
        changes[f"{network}.fmap_base"] = fmap_base // 16
        changes[f"{network}.fmap_max"] = getattr(digits, network).fmap_max
    for field in ("source", "resolution", "channels", "mirror"):
        changes[f"data.{field}"] = getattr(digits.data, field)
    for field in ("g_lr", "d_lr"):
        changes[f"optimizer.{field}"] = getattr(digits.optimizer, field)
    for field in ("batch_size", "tick_kimg", "ema_halflife_kimg", "metric_images"):
        changes[f"train.{field}"] = getattr(digits.train, field)
    changes["train.total_kimg"] = kimg
    for path, value in changes.items():
        section, field = path.split(".")
        setattr(getattr(config, section), field, value)
    return config.validate(), [f"--config.{p}={v}" for p, v in changes.items()]


def train(name, kimg, workdir):
    """Trains a row, or goes on with it; returns the Frechet distance at the end."""
    preset = config_lib.preset_path(name)
    command = [sys.executable, "-m", "tfstylegan.train", f"--config={preset}"]
    command += [f"--workdir={workdir.resolve()}", *small(name, kimg)[1]]
    done = subprocess.run(command, cwd=ROOT, stdout=sys.stderr, check=False)
    if done.returncode:
        sys.exit(f"error: training {name} ended with status {done.returncode}")
    lines = map(json.loads, (workdir / "stats.jsonl").read_text().splitlines())
    return [line[METRIC] for line in lines if METRIC in line][-1]


def measure(config, base, rounds):
    """Cells of a row: parameters, relative speed and memory."""
    trainer = Trainer(config)
    trainer.ask("cycle")  # traces and warms up
    size = trainer.ask("images") / base.ask("images")
    ratios = [size * base.ask("cycle") / trainer.ask("cycle") for _ in range(rounds)]
    g, d = trainer.ask("parameters")
    memory = trainer.ask("memory")
    trainer.close()
    return f"{g:,}", f"{d:,}", f"{np.median(ratios):.2f}", f"{memory:.2f}"


def line(cells):
    return f"| {' | '.join(map(str, cells))} |"


if __name__ == "__main__":
    cli.define_outdir("Folder of the runs, one for each row.")
    flags.DEFINE_list("rows", [], "Presets; by default all published rows.")
    flags.DEFINE_float("kimg", 24.0, "Length of each run in thousands of images.", 1.0)
    flags.DEFINE_integer("rounds", 3, "Timed cycles of each row.", 1)
    cli.run(main)
