"""Geometric transformations: oracle, exact cases, distributions, derivatives."""

import math

import augment_oracles
import numpy as np
import pytest
import tensorflow as tf

from tfstylegan import rng
from tfstylegan.augment import geometry, wavelets

KEY = tf.constant([3, 4])
H = wavelets.SYM6 / np.sqrt(2)


def images(*shape, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, size=shape).astype(np.float32)


def smooth(height, width):
    y, x = np.mgrid[:height, :width]
    waves = np.cos(0.4 * x + 0.2 * y) + 0.5 * np.sin(0.3 * y - 0.25 * x + 1)
    return waves[np.newaxis, :, :, np.newaxis].astype(np.float32)


def eye(count):
    return tf.eye(3, batch_shape=[count])


def check_wavelet(h, moments):
    """What defines an orthonormal low-pass with vanishing moments."""
    k = np.arange(len(h))
    assert len(h) == 2 * moments
    assert np.isclose(h.sum(), np.sqrt(2), atol=1e-11)
    for shift in range(moments):
        product = h[2 * shift :] @ h[: len(h) - 2 * shift]
        assert np.isclose(product, shift == 0, atol=1e-11)
    for power in range(moments):
        terms = (-1.0) ** k * h * (k / len(h)) ** power
        assert abs(terms.sum()) < 1e-9 * np.abs(terms).sum()


def test_wavelets_are_orthonormal_with_vanishing_moments():
    check_wavelet(wavelets.SYM2, 2)
    check_wavelet(wavelets.SYM6, 6)
    np.testing.assert_allclose(wavelets.SYM2, augment_oracles.SYM2, atol=1e-12)


def test_sym6_is_the_most_symmetric_of_its_family():
    """Its zeros are those of the minimum-phase filter, some mirrored at the circle."""
    roots = np.roots(wavelets.SYM6)
    zeros = roots[np.abs(roots + 1) > 0.1]  # six lie at -1
    assert len(zeros) == 5

    def asymmetry(filter_zeros):
        h = np.real(np.poly([*filter_zeros, *[-1] * 6]))
        phase = np.unwrap(np.angle(np.exp(-1j * np.outer(OMEGA, np.arange(12))) @ h))
        slope = (OMEGA @ phase) / (OMEGA @ OMEGA)
        return np.abs(phase - slope * OMEGA).max()

    pairs = [z for z in zeros if z.imag > 1e-9] + [
        z for z in zeros if abs(z.imag) <= 1e-9
    ]
    scores = []
    for bits in range(2 ** len(pairs)):
        chosen = []
        for i, z in enumerate(pairs):
            z = 1 / np.conj(z) if bits >> i & 1 else z
            chosen += [z] if abs(z.imag) <= 1e-9 else [z, np.conj(z)]
        scores.append(asymmetry(chosen))
    assert len(pairs) == 3
    assert scores[0] == pytest.approx(min(scores))


OMEGA = np.linspace(0.01, 0.9 * np.pi, 200)


def random_inverse(seed, size, far=1.0):
    random = np.random.default_rng(seed)
    linear = np.eye(2) + far * random.normal(size=(2, 2)) * 0.5
    inverse = np.eye(3)
    inverse[:2, :2] = linear
    inverse[:2, 2] = far * random.normal(size=2) * size * 0.3
    return inverse


@pytest.mark.parametrize("shape", [(5, 5, 1), (4, 7, 2)])
def test_oracle_warp(shape):
    x = images(3, *shape)
    inverses = [random_inverse(i, shape[0], far) for i, far in enumerate((0.2, 1, 2))]
    actual = geometry.warp(tf.constant(x), tf.constant(inverses, tf.float32))
    for image, inverse, result in zip(x, inverses, actual, strict=True):
        expected = augment_oracles.warp(image.astype(np.float64), inverse, H)
        assert np.std(expected) > 0.05
        np.testing.assert_allclose(result, expected, atol=2e-5)


def test_an_image_does_not_depend_on_the_margins_of_others():
    x = tf.constant(images(2, 12, 9, 3))
    inverse = geometry.rotation(tf.constant([0.3, 0.7]))
    far = tf.concat([inverse[:1], geometry.scaling(tf.constant([9.0]), 9.0)], axis=0)
    near = geometry.warp(x[:1], inverse[:1])
    together = geometry.warp(x, far)
    np.testing.assert_allclose(near, together[:1], atol=1e-5)
    assert np.abs(together[1].numpy()).min() < 1e-3  # there is nothing that far away


def test_identity_and_whole_pixels_are_exact():
    x = images(2, 8, 11, 3)
    np.testing.assert_allclose(geometry.warp(x, eye(2)), x, atol=1e-5)
    shift = geometry.translation(tf.constant([[-2.0, 1.0], [3.0, 0.0]]))
    moved = geometry.warp(x, shift).numpy()
    padded = np.pad(x, [(0, 0), (4, 4), (4, 4), (0, 0)], mode="reflect")
    np.testing.assert_allclose(moved[0], padded[0, 5:13, 2:13], atol=1e-5)
    np.testing.assert_allclose(moved[1], padded[1, 4:12, 7:18], atol=1e-5)


@pytest.mark.parametrize(
    "inverse, expected",
    [
        (lambda one: geometry.scaling(-one, 1.0), lambda x: x[:, :, ::-1]),
        (lambda one: geometry.scaling(one, -1.0), lambda x: x[:, ::-1]),
        (lambda one: geometry.rotation(one * math.pi), lambda x: x[:, ::-1, ::-1]),
        # A place (x, y) of the result shows (-y, x): the right side is on top.
        (
            lambda one: geometry.rotation(one * math.pi / 2),
            lambda x: np.rot90(x, axes=(1, 2)),
        ),
    ],
)
def test_mirrored_and_turned_images_are_in_their_place(inverse, expected):
    x = smooth(16, 16)
    y = geometry.warp(x, inverse(tf.ones([1]))).numpy()
    error = (y - expected(x))[:, 3:-3, 3:-3]
    assert np.abs(error).max() < 0.02 * np.std(x)


def test_scaling_shows_half_as_much_twice_as_large():
    x = smooth(32, 32)
    y = geometry.warp(x, geometry.scaling(tf.constant([0.5]), 0.5)).numpy()
    place = (np.arange(32) + 0.5) / 2 + 8 - 0.5  # in pixels of the original
    wave_y, wave_x = np.meshgrid(place, place, indexing="ij")
    expected = np.cos(0.4 * wave_x + 0.2 * wave_y)
    expected += 0.5 * np.sin(0.3 * wave_y - 0.25 * wave_x + 1)
    assert np.abs(y[0, :, :, 0] - expected).max() < 0.03


def all_kept(*names, count):
    return {name: tf.ones([count], tf.bool) for name in names}


NAMES = ("xflip", "rotate90", "xint", "scale")
NAMES += ("rotate_before", "aniso", "rotate_after", "xfrac")


def test_oracle_matrices_are_composed_in_order():
    alone = [
        np.linalg.inv(geometry.draw(all_kept(n, count=6), 6, (8, 8), KEY))
        for n in NAMES
    ]
    forward = np.broadcast_to(np.eye(3), [6, 3, 3])
    for matrix in alone:
        forward = matrix @ forward
    together = geometry.draw(all_kept(*NAMES, count=6), 6, (8, 8), KEY)
    np.testing.assert_allclose(np.linalg.inv(together), forward, rtol=1e-3, atol=1e-4)


def test_only_kept_transformations_are_carried_out():
    kept = all_kept("scale", "xint", count=2)
    kept["scale"] = tf.constant([True, False])
    kept["xint"] = tf.constant([False, False])
    inverse = geometry.draw(kept, 2, (64, 64), KEY).numpy()
    assert inverse[0, 0, 0] != 1
    assert np.array_equal(inverse[1], np.eye(3))


N = 20000


def drawn(name, size=(40, 40)):
    inverse = geometry.draw(all_kept(name, count=N), N, size, KEY)
    return np.linalg.inv(inverse.numpy().astype(np.float64))  # [N, 3, 3] forward


def test_statistics_of_flips_and_quarter_turns():
    flip = np.round(drawn("xflip"), 6)
    assert abs(np.mean(flip[:, 0, 0] == -1) - 0.5) < 0.02
    assert np.all(flip[:, 1, 1] == 1) and np.all(np.abs(flip[:, 0, 0]) == 1)
    turn = drawn("rotate90")
    angle = np.round(np.arctan2(turn[:, 1, 0], turn[:, 0, 0]) / (np.pi / 2), 4) % 4
    assert np.all(np.abs(np.bincount(angle.astype(int)) / N - 0.25) < 0.02)
    turn = drawn("rotate90", (40, 20))
    angle = np.round(np.arctan2(turn[:, 1, 0], turn[:, 0, 0]) / np.pi, 4) % 2
    assert np.all(np.abs(np.bincount(angle.astype(int)) / N - 0.5) < 0.02)


def test_statistics_of_shifts():
    x, y = drawn("xint", (40, 80))[:, :2, 2].T
    assert np.abs(x - np.round(x)).max() < 1e-5 and np.abs(x).max() == 10
    assert np.abs(y).max() == 5
    assert abs(np.std(x) - np.sqrt(20**2 / 12)) < 0.1
    assert abs(np.corrcoef(x, y)[0, 1]) < 0.03
    x, y = drawn("xfrac", (40, 80))[:, :2, 2].T
    assert abs(np.std(x) - 10) < 0.2 and abs(np.std(y) - 5) < 0.1
    assert abs(np.mean(x)) < 0.3 and np.mean(np.abs(x) > 10) < 0.35


def test_statistics_of_scales_and_angles():
    scale = np.log2(drawn("scale")[:, (0, 1), (0, 1)])
    np.testing.assert_allclose(scale[:, 0], scale[:, 1], atol=1e-5)
    assert abs(np.std(scale[:, 0]) - 0.2) < 0.005 and abs(np.mean(scale)) < 0.01
    stretch = np.log2(drawn("aniso")[:, (0, 1), (0, 1)])
    np.testing.assert_allclose(stretch[:, 0], -stretch[:, 1], atol=1e-5)
    assert abs(np.std(stretch[:, 0]) - 0.2) < 0.005
    for name in ("rotate_before", "rotate_after"):
        turn = drawn(name)
        angle = np.arctan2(turn[:, 1, 0], turn[:, 0, 0])
        counts = np.histogram(angle, bins=8, range=(-np.pi, np.pi))[0]
        assert np.all(np.abs(counts / N - 0.125) < 0.015)
        np.testing.assert_allclose(np.linalg.det(turn), 1, atol=1e-5)


def test_gradient_is_the_transpose_and_has_derivatives():
    x, v = tf.constant(images(2, 6, 7, 2)), tf.constant(images(2, 6, 7, 2, seed=1))
    inverse = tf.constant([random_inverse(i, 6) for i in range(2)], tf.float32)
    with tf.GradientTape(persistent=True) as outer:
        outer.watch([x, v])
        with tf.GradientTape() as tape:
            tape.watch(x)
            along = tf.reduce_sum(geometry.warp(x, inverse) * v)
        gradient = tape.gradient(along, x)
        power = tf.reduce_sum(gradient**3)
    # <A x, v> = <x, A' v>
    assert np.isclose(along, tf.reduce_sum(x * gradient), rtol=1e-4)
    # The gradient is linear in v: its derivative is A again.
    expected = geometry.warp(3 * gradient**2, inverse)
    np.testing.assert_allclose(outer.gradient(power, v), expected, atol=1e-4)


def test_statistics_are_functions_of_the_key():
    kept = all_kept("scale", count=3)
    first, again = (geometry.draw(kept, 3, (8, 8), KEY) for _ in range(2))
    other = geometry.draw(kept, 3, (8, 8), rng.fold(KEY, "other"))
    assert np.array_equal(first, again)
    assert not np.any(first[:, 0, 0] == other[:, 0, 0])
