"""Random calls of TfstyleganConv3x3 and its kernel's gradient, for fuzz_ops.py."""

import numpy as np
import tensorflow as tf
from fuzz_calls import compare, must_refuse, random_tensor, wide

MAPS = (0, 32, 32, 64, 96)


def shapes(rng):
    """Of x, w and y."""
    n, h, w = rng.integers(0, 4), *rng.integers(0, 14, 2)
    c, f = rng.choice(MAPS, 2)
    if rng.random() < 0.1:  # blocks enough for all threads
        n, h, w = rng.integers(1, 5), *rng.integers(20, 40, 2)
    return (n, h, w, c), (3, 3, c, f), (n, h, w, f)


def shifted(x):
    """x [N, H, W, C] as each of the 9 kernel elements sees it: [9, N, H, W, C]."""
    _, height, width, _ = x.shape
    padded = np.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]])
    return [
        padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3)
    ]


def convolved(x, w):
    w = w.reshape(9, *w.shape[2:])
    return sum(part @ kernel for part, kernel in zip(shifted(x), w))


def turned(w):
    return np.swapaxes(w[::-1, ::-1], 2, 3)


def kernel_gradient(x, dy):
    parts = [np.einsum("nhwc,nhwf->cf", part, dy, optimize=True) for part in shifted(x)]
    return np.reshape(parts, [3, 3, x.shape[-1], dy.shape[-1]])


def check(found, function, first, second):
    """A tile's sums are larger than its results: the limit is of the largest sum."""
    expected = function(wide(first), wide(second))
    sums = function(np.abs(wide(first)), np.abs(wide(second)))
    limit = 8 * sums.max(initial=0)
    compare(found, expected, limit, f"{first.shape} with {second.shape}")


def forward(library, rng):
    x_shape, w_shape, _ = shapes(rng)
    x = random_tensor(rng, x_shape, tf.float32)
    w = random_tensor(rng, w_shape, tf.float32)
    check(library.tfstylegan_conv3x3(x=x, w=w), convolved, x, w)


def transposed(library, rng):
    _, w_shape, y_shape = shapes(rng)
    dy = random_tensor(rng, y_shape, tf.float32)
    w = random_tensor(rng, w_shape, tf.float32)
    found = library.tfstylegan_conv3x3(x=dy, w=w, transposed=True)
    check(found, lambda dy, w: convolved(dy, turned(w)), dy, w)


def gradient(library, rng):
    x_shape, _, y_shape = shapes(rng)
    x = random_tensor(rng, x_shape, tf.float32)
    dy = random_tensor(rng, y_shape, tf.float32)
    found = library.tfstylegan_conv3x3_kernel_grad(x=x, dy=dy)
    check(found, kernel_gradient, x, dy)


def refused(library, rng):
    """A call that breaks the contract in one point."""
    x, w = tf.zeros([2, 5, 4, 32]), tf.zeros([3, 3, 32, 64])
    if rng.random() < 0.5:
        bad = [
            {"x": x[0]},
            {"x": x[..., :31]},
            {"x": tf.zeros([2, 5, 4, 64])},
            {"w": w[0]},
            {"w": w[:2]},
            {"w": w[:, :1]},
            {"w": w[..., :33]},
            {"w": w[:, :, :16]},
        ]
        good = {"x": x, "w": w}
        if rng.random() < 0.5:
            good = {"x": tf.zeros([2, 5, 4, 64]), "w": w, "transposed": True}
            bad[2] = {"x": x}
        must_refuse(library.tfstylegan_conv3x3, good, bad, rng)
        return
    dy = tf.zeros([2, 5, 4, 64])
    bad = [
        {"x": x[0]},
        {"x": x[..., :8]},
        {"dy": dy[..., :40]},
        {"dy": dy[:1]},
        {"dy": dy[:, :4]},
        {"dy": dy[:, :, :3]},
        {"dy": dy[tf.newaxis]},
    ]
    must_refuse(library.tfstylegan_conv3x3_kernel_grad, {"x": x, "dy": dy}, bad, rng)
