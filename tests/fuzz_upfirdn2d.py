"""Random calls of TfstyleganUpfirdn2d, for fuzz_ops.py."""

import numpy as np
from fuzz_calls import (
    CHANNELS,
    compare,
    must_refuse,
    random_tensor,
    random_type,
    wide,
)


def forward(library, rng):
    dtype = random_type(rng)
    n, h, w = rng.integers(0, 4), *rng.integers(0, 12, 2)
    c = int(rng.choice(CHANNELS))
    up, down = rng.integers(1, 5, 2), rng.integers(1, 5, 2)
    count = rng.integers(1, 7, 2)
    pad0 = rng.integers(-6, 7, 2)
    usual = rng.random() < 0.6
    if usual:  # what networks ask for
        factors = [(1, 1), (1, 1), (2, 2), (2, 1), (1, 2)]
        up, down = factors[rng.integers(5)], factors[rng.integers(5)]
        count = np.array([4, 4])
        pad0 = rng.integers(0, 4, 2)
    elif rng.random() < 0.2:
        count = rng.integers(1, 20, 2)
    rare = rng.random()
    if rare < 0.03:  # more than one piece of a row
        w, h, c = rng.integers(500, 5000), rng.integers(1, 4), rng.integers(1, 6)
    elif rare < 0.05:
        c = rng.integers(1000, 6000)
        h, w = rng.integers(1, 5, 2)
    elif rare < 0.07:  # rows enough for all threads
        n, h = rng.integers(2, 6), rng.integers(30, 70)
    taps = rng.standard_normal(count)
    if rng.random() < 0.6:
        taps = np.outer(rng.standard_normal(count[0]), rng.standard_normal(count[1]))
    if rng.random() < 0.2:
        taps *= rng.random(count) < 0.5
    size = (np.array([h, w]) * up + 2 * pad0 - count) // down + 1
    if not usual or np.any(size < 0):
        size = rng.integers(0, 14, 2)
    x = random_tensor(rng, (n, h, w, c), dtype)

    axes = [
        axis_matrices(size[i], (h, w)[i], up[i], down[i], pad0[i], count[i])
        for i in range(2)
    ]
    expected = filtered(wide(x), taps, *axes)
    scale = filtered(np.abs(wide(x)), np.abs(taps), *axes)
    arguments = {"up": list(up), "down": list(down), "pad0": list(pad0)}
    found = library.tfstylegan_upfirdn2d(
        x=x, taps=taps, size=np.asarray(size, np.int32), **arguments
    )
    what = f"x {x.shape} {dtype.name}, taps {taps.shape}, size {size}, {arguments}"
    compare(found, expected, scale, what)


def axis_matrices(out, size, up, down, pad0, count):
    """[K, O, I]: which sample each tap of each output reads, if any."""
    matrices = np.zeros([count, out, size])
    for k in range(count):
        position = np.arange(out) * down + k - pad0
        sample = position // up
        reads = (position % up == 0) & (sample >= 0) & (sample < size)
        matrices[k, np.flatnonzero(reads), sample[reads]] = 1
    return matrices


def filtered(x, taps, y_axis, x_axis):
    n, h, w, c = x.shape
    result = np.zeros([n, y_axis.shape[1], x_axis.shape[1], c])
    if not result.size or not x.size:
        return result
    for ky, selects in enumerate(y_axis):
        rows = np.einsum("oi,nijc->nojc", selects, x, optimize=True)
        for kx, columns in enumerate(x_axis):
            if taps[ky, kx]:
                read = np.flatnonzero(columns.any(1))
                samples = columns[read].argmax(1)
                result[:, :, read] += taps[ky, kx] * rows[:, :, samples]
    return result


def refused(library, rng):
    """A call that breaks the contract in one point, or comes close to it."""
    x = random_tensor(rng, (2, 5, 4, 3), random_type(rng))
    good = {"x": x, "taps": np.ones([2, 2]), "size": [3, 3]}
    good |= {"up": [1, 1], "down": [1, 1], "pad0": [0, 0]}
    if rng.random() < 0.3:  # far away, but allowed: all zeros
        far = int(rng.integers(2**20, 2**40))
        pads = [far * int(rng.choice([-1, 1])), int(rng.integers(-3, 4))]
        found = library.tfstylegan_upfirdn2d(
            **good | {"pad0": pads[:: rng.choice([-1, 1])]}
        )
        compare(found, np.zeros(found.shape), 0, f"pad0 {pads}")
        return
    bad = [
        {"x": x[0]},
        {"x": x[np.newaxis]},
        {"taps": np.ones([3])},
        {"taps": np.ones([0, 3])},
        {"taps": np.ones([1, 2, 2])},
        {"size": [3]},
        {"size": [3, 3, 3]},
        {"size": [3, int(-rng.integers(1, 2**31))]},
        {"up": [1, 0]},
        {"up": [int(-rng.integers(1, 2**40)), 1]},
        {"down": [0, 1]},
        {"down": [1, 2**20 + 1]},
        {"pad0": [2**40 + 1, 0]},
        {"pad0": [0, -(2**40) - 1]},
        {"up": [1, 1, 1]},
    ]
    must_refuse(library.tfstylegan_upfirdn2d, good, bad, rng)
