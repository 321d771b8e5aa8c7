"""Start-up of training: from the command to the end of the first step.

    python tools/bench_startup.py [--config=configs/digits32.py] [--runs=3]

Runs `python -m tfstylegan.train` in a terminal and ends it when its progress bar moves:
with an empty cache (cold: the compiler builds the ops) and with what that run left in
it (warm), `runs` times in turn. Prints the seconds of each, and how many of the cold
start's the log gives to the compiler (none where a library came with the package).
"""

import contextlib
import fcntl
import os
import pathlib
import pty
import re
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from absl import flags

from tfstylegan import cli

ROOT = pathlib.Path(__file__).resolve().parents[1]
_MOVED = re.compile(rb"\[[\d:]+<\d")  # the bar knows how long the rest will take
_BUILT = re.compile(rb"built the custom ops in (\d+) s")
_SIZE = struct.pack("HHHH", 40, 160, 0, 0)  # rows and columns of the terminal


def main(argv):
    del argv
    with cli.one_sentence():
        flags.FLAGS.config.validate()
    options = [text for text in sys.argv[1:] if not text.startswith("--runs")]
    print("| run | cold, s | of it compiling, s | warm, s |\n|---|---:|---:|---:|")
    for run in range(flags.FLAGS.runs):
        with tempfile.TemporaryDirectory() as cache:
            cold, said = first_step(options, cache)
            warm, _ = first_step(options, cache)
        built = _BUILT.search(said)
        compiling = built[1].decode() if built else "0"
        print(f"| {run + 1} | {cold:.1f} | {compiling} | {warm:.1f} |", flush=True)


def first_step(options, cache):
    """(seconds to the end of the first step, all that was printed until then)."""
    said = b""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        with training([*options, f"--workdir={folder}/run"], cache) as output:
            while not _MOVED.search(said):
                new = output()
                if not new:
                    sys.exit(f"error: training ended: {last_line(said)}")
                said += new
            return time.perf_counter() - start, said


def last_line(said):
    lines = said.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"


@contextlib.contextmanager
def training(options, cache):
    """Function that waits for the next bytes that training prints; none at its end."""
    here, there = pty.openpty()
    fcntl.ioctl(there, termios.TIOCSWINSZ, _SIZE)
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [sys.executable, "-m", "tfstylegan.train", *options],
        env={**os.environ, "PYTHONPATH": path, "TFSTYLEGAN_CACHE": cache},
        stdin=subprocess.DEVNULL,
        stdout=there,
        stderr=there,
        start_new_session=True,  # to end it with what it started
    )
    os.close(there)

    def output():
        try:
            return os.read(here, 4096)
        except OSError:  # EIO: nobody has the other side open
            return b""

    try:
        yield output
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        os.close(here)


if __name__ == "__main__":
    cli.define_config()
    flags.DEFINE_integer("runs", 3, "Cold and warm starts, each.", 1)
    cli.run(main)
