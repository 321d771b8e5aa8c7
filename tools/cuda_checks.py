"""Small random cases of every CUDA kernel, against float64."""

import sys

import cuda_cases
import cuda_launchers
import numpy as np

TOLERANCE = {"float32": 1e-5, "float64": 1e-12, "float16": 1e-2, "bfloat16": 1e-2}


def check(launchers, arrays, dtypes, rounds, seed=0):
    """Prints the worst errors of `rounds` of each type; returns what went wrong."""
    failed = []
    for dtype in dtypes:
        choose = Choose(seed)
        worst = {}
        for _ in range(rounds):
            for case in random_cases(launchers, arrays, choose, dtype):
                case.launch()
                error = case.error()
                if not error <= TOLERANCE[dtype]:
                    failed.append(f"{dtype} {case.name}: error {error:.1e}")
                kind = case.name.split(",")[0]
                worst[kind] = max(worst.get(kind, 0.0), error)
        errors = ", ".join(f"{kind} {error:.1e}" for kind, error in worst.items())
        print(f"{dtype}: {rounds} rounds; worst errors: {errors}", flush=True)
    return failed


def report(failed):
    """The exit status."""
    for line in failed:
        print(f"error: {line}", file=sys.stderr)
    return 1 if failed else 0


class Choose:
    """Seeded choices among plain Python values, as ctypes wants them."""

    def __init__(self, seed):
        self.random = np.random.default_rng(seed)

    def between(self, first, last):
        """An integer of [first, last]."""
        return int(self.random.integers(first, last + 1))

    def one_of(self, items):
        """One of a list."""
        return items[self.between(0, len(items) - 1)]


def random_cases(launchers, arrays, choose, dtype):
    channels = choose.one_of([1, 3, 4, 5, 8, 33, 64, 512])
    batch = choose.between(1, 3)
    shape = batch, choose.between(1, 24), choose.between(1, 70), channels
    for factors in ((1, 1), (2, 1), (1, 2), None):
        yield random_upfirdn2d(launchers, arrays, choose, shape, dtype, factors)
    for make in (cuda_cases.bias_act, cuda_cases.bias_act_grad):
        axis = choose.one_of([1, 3])
        act = choose.one_of(cuda_launchers.ACTS)
        # Whether swish reaches the clamp is decided in the kernel's own precision.
        clamp = np.inf if act == "swish" else choose.one_of([np.inf, 1.25])
        name = f"{make.__name__}, {act} {shape} axis {axis} clamp {clamp}"
        yield make(launchers, arrays, name, shape, dtype, act, clamp, axis)
    for make in (
        cuda_cases.epilogue,
        cuda_cases.epilogue_grad,
        cuda_cases.epilogue_second,
    ):
        act = choose.one_of(["linear", "relu", "lrelu"])
        clamp, maps = choose.one_of([np.inf, 1.25]), choose.one_of([1, batch])
        name = f"{make.__name__}, {act} {shape} maps {maps} clamp {clamp}"
        yield make(launchers, arrays, name, shape, dtype, act, clamp, maps)


def random_upfirdn2d(launchers, arrays, choose, shape, dtype, factors):
    """factors: (up, down) of a filter of 4 x 4 taps, or None for anything."""
    if factors is None:
        up, down = ([choose.between(1, 4) for _ in "yx"] for _ in range(2))
        counts = choose.one_of([(1, 1), (3, 5), (7, 2), (25, 20)])
        taps = choose.random.normal(size=counts)
    else:
        up, down = ([factor] * 2 for factor in factors)
        taps = np.outer(*choose.random.normal(size=(2, 4)))
    pad0 = [choose.between(-3, 6) for _ in "yx"]
    size = [choose.between(1, n * u // d + 4) for n, u, d in zip(shape[1:3], up, down)]
    name = (
        f"upfirdn2d, x {shape} taps {taps.shape} up {up} down {down} pad0 {pad0} "
        f"size {size}"
    )
    arguments = up, down, pad0, taps, size
    return cuda_cases.upfirdn2d(launchers, arrays, name, shape, dtype, *arguments)
