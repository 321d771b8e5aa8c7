"""Colours, filtering, noise and cutout: oracles and distributions."""

import augment_oracles
import numpy as np
import pytest
import tensorflow as tf

from tfstylegan.augment import colour, corruption, filtering

KEY = tf.constant([5, 6])
N = 20000
COLOURS = ("brightness", "contrast", "lumaflip", "hue", "saturation")
AMOUNTS = {
    "brightness": (colour.brightness, augment_oracles.brightness, (0.3, -0.2)),
    "contrast": (colour.contrast, augment_oracles.contrast, (1.5, 0.4)),
    "lumaflip": (colour.luma_flip, augment_oracles.luma_flip, (1.0, 0.0)),
    "hue": (colour.hue, augment_oracles.hue, (0.7, -2.5)),
    "saturation": (colour.saturation, augment_oracles.saturation, (2.0, 0.3)),
}


def images(*shape, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, size=shape).astype(np.float32)


def kept(*names, count=N):
    return {name: tf.ones([count], tf.bool) for name in names}


@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize("name", COLOURS)
def test_oracle_colours(name, channels):
    function, oracle, amounts = AMOUNTS[name]
    x = images(2, 3, 4, channels)
    amount = tf.reshape(tf.constant(amounts), [2, 1, 1])
    matrices = tf.broadcast_to(function(amount), [2, 4, 4])
    actual = colour.apply(tf.constant(x), matrices)
    for n, value in enumerate(amounts):
        for i, j in np.ndindex(3, 4):
            rgb = np.broadcast_to(x[n, i, j], [3]).astype(np.float64)
            expected = oracle(rgb, value)
            expected = np.mean(expected) if channels == 1 else expected
            np.testing.assert_allclose(actual[n, i, j], expected, atol=1e-6)


def test_oracle_colours_are_composed_in_order():
    alone = {n: colour.draw(kept(n, count=5), 5, KEY) for n in COLOURS}
    x = images(5, 2, 2, 3)
    one_by_one = tf.constant(x)
    for name in COLOURS:
        one_by_one = colour.apply(one_by_one, alone[name])
    at_once = colour.apply(x, colour.draw(kept(*COLOURS, count=5), 5, KEY))
    assert np.std(at_once) > 0.1
    np.testing.assert_allclose(at_once, one_by_one, rtol=1e-4, atol=1e-4)


def test_statistics_of_colours():
    def matrices(name):
        return colour.draw(kept(name), N, KEY).numpy()

    amount = matrices("brightness")[:, 0, 3]
    assert abs(np.std(amount) - 0.2) < 0.005 and abs(np.mean(amount)) < 0.005
    factor = np.log2(matrices("contrast")[:, 1, 1])
    assert abs(np.std(factor) - 0.5) < 0.01 and abs(np.mean(factor)) < 0.02
    flipped = matrices("lumaflip")[:, 0, 1] != 0
    assert abs(np.mean(flipped) - 0.5) < 0.02
    hue = matrices("hue")[:, :3, :3]
    cos = (np.trace(hue, axis1=1, axis2=2) - 1) / 2
    angle = np.arctan2((hue[:, 1, 0] - hue[:, 0, 1]) * np.sqrt(3) / 2, cos)
    counts = np.histogram(angle, bins=8, range=(-np.pi, np.pi))[0]
    assert np.all(np.abs(counts / N - 0.125) < 0.015)
    # A colour without any grey, (1, -1, 0), becomes longer by the factor.
    factor = np.log2(matrices("saturation")[:, 0, :2] @ [1, -1])
    assert abs(np.std(factor) - 1) < 0.02 and abs(np.mean(factor)) < 0.03


def test_oracle_bands_sum_to_the_identity():
    np.testing.assert_allclose(filtering.BANDS, augment_oracles.bands(), atol=1e-9)
    delta = np.eye(43)[21]
    np.testing.assert_allclose(filtering.BANDS.sum(axis=0), delta, atol=1e-9)


@pytest.mark.parametrize("size", [(30, 24), (7, 5), (2, 1)])
def test_oracle_filter(size):
    x = images(2, *size, 2)
    gains = np.array([[2.0, 0.5, 1.0, 1.5], [0.3, 1.2, 2.5, 0.1]])
    actual = filtering.apply(tf.constant(x), tf.constant(gains, tf.float32))
    for image, gain, result in zip(x, gains, actual, strict=True):
        expected = augment_oracles.amplified(image.astype(np.float64), gain)
        np.testing.assert_allclose(result, expected, atol=1e-5)


def test_oracle_gains():
    every = np.array(list(np.ndindex(2, 2, 2, 2)), bool)  # [16, 4]
    gains = filtering.draw(tf.constant(every), 16, KEY).numpy()
    assert np.array_equal(gains[0], np.ones(4))
    only = [
        filtering.draw(tf.constant(np.eye(4, dtype=bool)[[band] * 16]), 16, KEY)
        for band in range(4)
    ]
    for row, wanted in enumerate(every):
        # Of a gain t and the others 1 / norm, the quotient is t.
        factors = [only[b][row, b] / only[b][row, (b + 1) % 4] for b in range(4)]
        expected = augment_oracles.gains(wanted, factors)
        np.testing.assert_allclose(gains[row], expected, rtol=1e-4)


def test_statistics_of_gains():
    power = np.array([10, 1, 1, 1]) / 13
    for band in range(4):
        one = np.broadcast_to(np.arange(4) == band, [N, 4])
        gains = filtering.draw(tf.constant(one), N, KEY).numpy()
        np.testing.assert_allclose(gains**2 @ power, 1, rtol=1e-4)
        factor = np.log2(gains[:, band] / gains[:, (band + 1) % 4])
        assert abs(np.std(factor) - 1) < 0.02 and abs(np.mean(factor)) < 0.03


def test_statistics_of_noise():
    chosen = np.arange(4001) < 4000
    noise = corruption.draw_noise(chosen, 4001, (16, 16, 1), KEY).numpy()
    assert not np.any(noise[4000])
    noise = noise[:4000]
    sigma = np.std(noise, axis=(1, 2, 3))
    assert abs(np.mean(sigma) - 0.1 * np.sqrt(2 / np.pi)) < 0.003
    assert abs(np.sqrt(np.mean(sigma**2)) - 0.1) < 0.003
    unit = noise / sigma[:, None, None, None]
    assert abs(np.mean(unit**4) - 3) < 0.1  # normal
    assert abs(np.mean(unit[:, 1:] * unit[:, :-1])) < 0.01


def test_oracle_cutout():
    centre = np.array([[0.0, 0.51], [0.4, 0.9], [0.63, 0.26]], np.float32)
    x = 2 + images(3, 8, 6, 2)
    actual = corruption.cut_out(tf.constant(x), tf.constant(centre)).numpy()
    for n, (y, z) in enumerate(centre):
        for i, j in np.ndindex(8, 6):
            rows = round((y - 0.25) * 8) <= i < round((y + 0.25) * 8)
            columns = round((z - 0.25) * 6) <= j < round((z + 0.25) * 6)
            expected = 0 if rows and columns else x[n, i, j]
            assert np.all(actual[n, i, j] == expected), (n, i, j)


def test_statistics_of_cutout():
    chosen = np.arange(N) < N - 1
    centre = corruption.draw_cutout(chosen, N, KEY).numpy()
    assert np.all(centre[-1] == corruption.NOWHERE)
    assert not np.any(corruption.cut_out(np.ones([1, 9, 9, 1]), centre[-1:]) == 0)
    centre = centre[:-1]
    for axis in (0, 1):
        counts = np.histogram(centre[:, axis], bins=8, range=(0, 1))[0]
        assert np.all(np.abs(counts / N - 0.125) < 0.015)
    assert abs(np.corrcoef(centre.T)[0, 1]) < 0.03
