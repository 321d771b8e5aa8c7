"""Breaks a small run again and again, and checks that nothing is lost.

    python tools/chaos.py --outdir=runs/chaos [--rounds=50] [--seed=0] [--jpegs=64]
        [--mishaps=SIGKILL ...]

Trains a tiny model on the digits once undisturbed, and once with `rounds` mishaps, each
followed by the same command: SIGKILL and SIGTERM at random moments, checkpoints that a
full disk cuts off, and, after a kill, a newest checkpoint that is truncated, has a bit
flipped or lacks a file. Every damage has to be named, every start has to go on from the
newest sound checkpoint, no process may be left behind, and in the end every variable
has to equal that of the undisturbed run, bit for bit: so it has seen the same images in
the same order. With `jpegs` these are so many files, decoded on demand by processes of
their own. Prints what happened; exit code 1 where it went wrong.
"""

import collections
import pathlib
import resource
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import numpy as np
from absl import flags
from bench_data import write_jpegs

from tfstylegan import checkpoints, cli
from tfstylegan import config as config_lib

ROOT = pathlib.Path(__file__).resolve().parents[1]
TICK = 32  # images; each has a checkpoint
TICKS_A_ROUND = 8
PATIENCE = 300  # seconds until a run that was told to end must have ended
FULL = 100_000  # bytes that a file may have while the disk is "full"
SMALL = (
    *("--config.data.resolution=8", "--config.data.mirror=true"),
    *("--config.generator.fmap_base=32", "--config.discriminator.fmap_base=32"),
    *("--config.generator.z_dim=8", "--config.generator.w_dim=8"),
    *("--config.train.batch_size=8", f"--config.train.tick_kimg={TICK / 1000}"),
    *("--config.train.checkpoint_ticks=1", "--config.train.image_ticks=1000"),
    *("--config.train.metrics=()", "--config.train.grid=(1,2)"),
)


class Wrong(Exception):
    """Something was lost, not named, or different."""


def main(argv):
    del argv
    outdir, rounds = pathlib.Path(flags.FLAGS.outdir), flags.FLAGS.rounds
    with cli.one_sentence():
        cli.check_outdir(outdir)
        if outdir.exists() and any(outdir.iterdir()):
            raise ValueError(f"outdir must be new or empty; {outdir} is not empty")
        source = on_demand(outdir / "jpegs") if flags.FLAGS.jpegs else ()
    total = f"--config.train.total_kimg={(rounds + 1) * TICKS_A_ROUND * TICK / 1000}"
    undisturbed, disturbed = (
        Run(outdir / name, total, *source) for name in ("quiet", "disturbed")
    )
    try:
        undisturbed.finish()
        told = mishaps(disturbed, rounds, np.random.default_rng(flags.FLAGS.seed))
        disturbed.finish()
        compare(undisturbed, disturbed)
    except Wrong as error:
        sys.exit(f"error: {error}; see {outdir}")
    for name, count in sorted(told.items()):
        print(f"{name:<12}{count:>4}")
    print(f"{sum(told.values())} mishaps: all variables are equal")


def on_demand(folder):
    """Writes the files; the flags with which they are decoded at every use."""
    folder.mkdir(parents=True)
    write_jpegs(folder, flags.FLAGS.jpegs)
    return (
        *(f"--config.data.source={folder.resolve()}", "--config.data.cache_mib=0"),
        *("--config.data.channels=3", "--config.data.labels=false"),
    )


class Run:
    """The training command in a folder of its own."""

    def __init__(self, folder, *overrides):
        self.folder = folder
        self.overrides = overrides
        self.checkpoints = folder / config_lib.CHECKPOINTS
        self.process = None

    def start(self, largest_file=None):
        def limit():
            if largest_file:
                hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
                resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, hard))

        self.folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "tfstylegan.train", *SMALL, *self.overrides]
        self.process = subprocess.Popen(
            [*command, f"--workdir={self.folder.resolve()}"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=limit,
        )

    def end(self, seconds=None):
        """(exit status, what it printed), once all that could print has ended."""
        try:
            told, _ = self.process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise Wrong("the run, or a process that it left, does not end") from None
        return self.process.returncode, told

    def finish(self):
        self.start()
        status, told = self.end()
        if status:
            raise Wrong(f"a start of {self.folder} ended with status {status}: {told}")

    def wait_for_tick(self):
        """Until there is a tick more than now, or the process has ended."""
        before = len(self.ticks())
        while self.process.poll() is None and len(self.ticks()) <= before:
            time.sleep(0.01)

    def ticks(self):
        """The lines of stats.jsonl."""
        file = self.folder / "stats.jsonl"
        return file.read_text().splitlines() if file.exists() else []


def mishaps(run, rounds, chance):
    """Lets `rounds` of them happen; returns how often which did."""
    told, damaged = collections.Counter(), set()  # files that no start has named yet
    for number in range(rounds):
        name = flags.FLAGS.mishaps[number % len(flags.FLAGS.mishaps)]
        before = len(run.ticks())
        run.start(FULL if name == "full disk" else None)
        if chance.random() < 0.8:
            run.wait_for_tick()
        time.sleep(chance.uniform(0, 1))
        run.process.send_signal(SIGNALS.get(name, signal.SIGKILL))
        status, text = run.end(PATIENCE)
        if status == 0:
            raise Wrong(f"the run was over before mishap {number}: give it more time")
        if damaged and "going on at" in text:  # one killed before that says nothing
            if not any(file in text for file in damaged):
                raise Wrong(f"the damage of {sorted(damaged)} was not named: {text}")
            damaged.clear()
        if name == "full disk" and len(run.ticks()) > before + 1:
            if "was not written" not in text and "error: " not in text:
                raise Wrong(f"a full disk was not named: {text}")
        damaged |= DAMAGES[name](run, chance) if name in DAMAGES else set()
        told[name] += 1
        print(f"{number + 1}/{rounds} {name}", file=sys.stderr, flush=True)
    return told


def damaging(change):
    def damage(run, chance):
        """Changes a file of the newest checkpoint; {its name}, {} without two."""
        numbers = checkpoints.numbers(run.checkpoints)
        newest = f"ckpt-{numbers[-1]}" if len(numbers) > 1 else "none"
        files = sorted(run.checkpoints.glob(f"{newest}.*"))
        files = [file for file in files if file.stat().st_size]
        if not files:
            return set()
        file = files[chance.integers(len(files))]
        change(file, chance)
        return {file.name}

    return damage


def truncate(file, chance):
    content = file.read_bytes()
    file.write_bytes(content[: chance.integers(len(content))])


def flip(file, chance):
    content = bytearray(file.read_bytes())
    content[chance.integers(len(content))] ^= 1 << int(chance.integers(8))
    file.write_bytes(content)


def remove(file, chance):
    del chance
    file.unlink()


SIGNALS = {"SIGKILL": signal.SIGKILL, "SIGTERM": signal.SIGTERM}
DAMAGES = {f.__name__: damaging(f) for f in (truncate, flip, remove)}
MISHAPS = (*SIGNALS, "full disk", *DAMAGES)


def compare(one, other):
    """Raises Wrong at the first variable that differs."""
    import tensorflow as tf  # takes seconds

    variables = []
    for run in (one, other):
        newest = checkpoints.newest_sound(run.checkpoints)
        path = checkpoints.path_of(run.checkpoints, newest)
        reader = tf.train.load_checkpoint(path)
        names = reader.get_variable_to_shape_map()
        skipped = "_CHECKPOINTABLE_OBJECT_GRAPH"
        variables.append({n: reader.get_tensor(n) for n in names if n != skipped})
    if variables[0].keys() != variables[1].keys():
        raise Wrong("the runs have different variables")
    for name, value in variables[0].items():
        if not np.array_equal(value, variables[1][name]):
            raise Wrong(f"{name} differs from the undisturbed run's")


if __name__ == "__main__":
    cli.define_outdir("New folder of both runs.")
    flags.DEFINE_integer("rounds", 50, "Mishaps.", 1)
    flags.DEFINE_integer("seed", 0, "Seed of their moments.", 0)
    flags.DEFINE_integer("jpegs", 0, "JPEG files to train on; 0: the digits.", 0)
    flags.DEFINE_multi_enum("mishaps", MISHAPS, MISHAPS, "Which ones, in turn.")
    cli.run(main)
