"""What the random calls of fuzz_ops.py share: their tensors and the comparison."""

import numpy as np
import tensorflow as tf

CHANNELS = (0, 1, 1, 2, 3, 3, 4, 5, 7, 8, 12, 15, 16, 17, 31, 32, 33, 64, 70)
# Relative error of float accumulation and of one rounding to the type.
PRECISION = {
    "float32": (1e-6, 0),
    "float64": (1e-14, 0),
    "bfloat16": (1e-6, 2.0**-8),
    "float16": (1e-6, 2.0**-10),
}
SMALL = {"float16": 1e-7, "float64": 1e-250}  # below, numbers lose digits


class Wrong(Exception):
    """A result that is not what the contract says."""


def random_type(rng):
    types = (tf.float32, tf.float32, tf.float64, tf.bfloat16, tf.float16)
    return types[rng.integers(len(types))]


def random_tensor(rng, shape, dtype):
    return tf.cast(rng.standard_normal(tuple(int(s) for s in shape)), dtype)


def random_scalars(rng):
    """alpha, gain, clamp."""
    alpha = rng.choice([0.0, 0.2, 1.0, 1.5])
    gain = rng.choice([1.0, 2**0.5, -0.7, 3.0])
    clamp = rng.choice([np.inf, 256.0, 1.0, 0.4])
    return np.array([alpha, gain, clamp])


def wide(tensor):
    return tensor.numpy().astype(np.float64)


def held(number, dtype):
    """What the type makes of a number."""
    return float(tf.cast(tf.constant(number, tf.float64), dtype))


def compare(found, expected, scale, what):
    """Raises Wrong unless |found - expected| is what float sums of `scale` leave."""
    if found.shape != expected.shape:
        raise Wrong(f"shape {found.shape}, not {expected.shape}, for {what}")
    dtype = found.dtype
    sums, rounding = PRECISION[dtype.name]
    limit = sums * scale + rounding * np.abs(expected) + SMALL.get(dtype.name, 1e-30)
    most = float(dtype.max)
    found = np.clip(wide(found), -most, most)  # infinity stands for what is more
    error = np.abs(found - np.clip(expected, -most, most))
    if not np.all(error <= limit):
        worst = np.unravel_index(np.argmax(error - limit), error.shape)
        raise Wrong(
            f"{found[worst]} at {[int(i) for i in worst]}, not "
            f"{expected[worst]}, for {what}"
        )


def must_refuse(op, good, bad, rng):
    """Calls op with one of the `bad` changes to arguments that are good."""
    change = bad[rng.integers(len(bad))]
    try:
        op(**good | change)
    except (tf.errors.InvalidArgumentError, ValueError):
        return
    raise Wrong(f"{change} is taken")
