"""Random calls of the CPU kernels under AddressSanitizer and UBSan, checked.

    python tests/fuzz_ops.py [--cases=20000] [--first=0] [--seed=0] [--level=best]

Builds the ops with the sanitizers into a temporary folder and runs them inside of
TensorFlow, so that its tensors have red zones, its threads share the work, and what a
shape function or a kernel refuses is part of the test. Every result is compared with
a float64 evaluation of the contract in custom_ops/README.md. A case depends on (seed,
number) alone: a failure tells how to repeat it.
"""

import argparse
import collections
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import numpy as np

ROOT = pathlib.Path(__file__).parents[1]
SANITIZE = (
    "-fsanitize=address,undefined -fno-sanitize-recover=all -g1 -O1"
    # Needs type information that TensorFlow does not export.
    " -fno-sanitize=vptr"
    # With these, GCC rejects constant expressions of Abseil.
    " -fno-sanitize=null,nonnull-attribute,returns-nonnull-attribute"
)
OPTIONS = {
    # Python and TensorFlow keep memory until they end.
    "ASAN_OPTIONS": "detect_leaks=0:halt_on_error=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "CUDA_VISIBLE_DEVICES": "",
}
CASE = "case"  # the file with the number of the case in work
# Of custom_ops/cpu_dispatch.h, where the CPU has it; None is a library for all CPUs.
LEVELS = {"best": None, "avx2": 1, "baseline": 0}
BUILD = """
from tfstylegan.ops import building
level, has = %r, building.cpu_level()
building.build(%r, None if None in (level, has) else min(level, has))
"""


def runtime():
    """What to load before Python; None where the sanitizers are missing."""
    if shutil.which("g++") is None:
        return None
    paths = []
    # libstdc++ too: the sanitizer looks for what throws exceptions when it starts.
    for name in ("libasan.so", "libstdc++.so.6"):
        command = ["g++", f"-print-file-name={name}"]
        asked = subprocess.run(command, capture_output=True, text=True)
        path = pathlib.Path(asked.stdout.strip())
        if not path.is_absolute():  # g++ prints names that it does not know as they are
            return None
        paths.append(str(path.resolve()))
    return ":".join(paths)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cases", type=int, default=20000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--level",
        choices=LEVELS,
        default="best",
        help="the best instruction set of x86-64 to use where the CPU has it",
    )
    parser.add_argument("--folder", help=argparse.SUPPRESS)  # set for the child
    options = parser.parse_args()
    if options.folder:
        run(options)
        return
    preload = runtime()
    if preload is None:
        sys.exit("error: g++ with libasan is needed")
    with tempfile.TemporaryDirectory() as folder:
        compiler = pathlib.Path(folder) / "sanitizing_compiler"
        compiler.write_text(f'#!/bin/sh\nexec g++ "$@" {SANITIZE}\n')
        compiler.chmod(0o755)
        path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        env = {**os.environ, **OPTIONS, "PYTHONPATH": path, "CXX": str(compiler)}
        build = [sys.executable, "-c", BUILD % (LEVELS[options.level], folder)]
        subprocess.run(build, env=env, check=True)
        command = [sys.executable, *sys.argv, f"--folder={folder}"]
        done = subprocess.run(command, env={**env, "LD_PRELOAD": preload})
        if done.returncode:
            case = (pathlib.Path(folder) / CASE).read_text()
            again = f"--first={case} --cases=1 --seed={options.seed}"
            again += f" --level={options.level}"
            print(f"again: python tests/fuzz_ops.py {again}", file=sys.stderr)
    sys.exit(done.returncode)


def run(options):
    import fuzz_fused_bias_act
    import fuzz_styled_epilogue
    import fuzz_upfirdn2d
    import fuzz_winograd
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(2)
    (path,) = pathlib.Path(options.folder).glob("*.so")
    library = tf.load_op_library(str(path))
    kinds = {  # of 30 calls
        "upfirdn2d": (fuzz_upfirdn2d.forward, 7),
        "upfirdn2d_refused": (fuzz_upfirdn2d.refused, 1),
        "bias_act": (fuzz_fused_bias_act.forward, 3),
        "bias_act_grad": (fuzz_fused_bias_act.gradient, 3),
        "bias_act_refused": (fuzz_fused_bias_act.refused, 1),
        "epilogue": (fuzz_styled_epilogue.forward, 2),
        "epilogue_grad": (fuzz_styled_epilogue.gradient, 3),
        "epilogue_grad_grad": (fuzz_styled_epilogue.second_gradient, 4),
        "epilogue_refused": (fuzz_styled_epilogue.refused, 1),
        "conv3x3": (fuzz_winograd.forward, 1),
        "conv3x3_transposed": (fuzz_winograd.transposed, 1),
        "conv3x3_kernel_grad": (fuzz_winograd.gradient, 2),
        "conv3x3_refused": (fuzz_winograd.refused, 1),
    }
    names = [name for name, (_, share) in kinds.items() for _ in range(share)]
    counts = collections.Counter()
    start = time.monotonic()
    for case in range(options.first, options.first + options.cases):
        rng = np.random.default_rng([options.seed, case])
        name = names[rng.integers(len(names))]
        (pathlib.Path(options.folder) / CASE).write_text(str(case))
        try:
            kinds[name][0](library, rng)
        except Exception as error:
            raise SystemExit(f"{name} fails: {error}") from error
        counts[name] += 1
    seconds = time.monotonic() - start
    parts = ", ".join(f"{n} {name}" for name, n in sorted(counts.items()))
    print(f"{options.cases} cases in {seconds:.0f} s, all as they should be: {parts}")


if __name__ == "__main__":
    main()
