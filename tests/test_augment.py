"""The pipeline: identity at p = 0, probabilities, derivatives, rows of a batch."""

import numpy as np
import pytest
import tensorflow as tf

from tfstylegan import augment, config_checks, ops, rng
from tfstylegan.augment import colour, corruption, filtering, geometry, pipeline

KEY = tf.constant([1, 2])
EVERYTHING = "bgcfnc"


def images(*shape, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, size=shape).astype(np.float32)


def make(preset=EVERYTHING, size=(12, 12), channels=3, **kwargs):
    height, width = size
    return augment.Augment(
        height=height, width=width, channels=channels, preset=preset, **kwargs
    )


def test_presets_are_those_of_the_configuration():
    assert tuple(augment.PRESETS) == config_checks.AUGMENT_PRESETS
    assert augment.PRESETS["bg"] == (
        *("xflip", "rotate90", "xint", "scale", "rotate", "aniso", "xfrac"),
    )
    assert set(augment.PRESETS[EVERYTHING]) == set(pipeline.TRANSFORMS)
    for name in ("bg", "bgc", "bgcf", "bgcfn"):
        parts = ("blit", "geom", "color", "filter", "noise")[: len(name)]
        merged = [t for part in parts for t in augment.PRESETS[part]]
        assert list(augment.PRESETS[name]) == merged


@pytest.mark.parametrize("preset", [*augment.PRESETS, "graph"])
def test_p_of_zero_is_the_identity_bit_for_bit(preset):
    pipe = make(EVERYTHING if preset == "graph" else preset, (6, 9), 1)
    call = tf.function(pipe) if preset == "graph" else pipe
    x = images(3, 6, 9, 1)
    x[0, 0, :5, 0] = [-0.0, 1e-42, np.inf, -np.inf, np.nan]
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = call(x, tf.constant(0.0), KEY)
    assert y.numpy().tobytes() == x.numpy().tobytes()
    assert np.array_equal(tape.gradient(y, x), np.ones(x.shape))


def test_images_that_nothing_is_kept_for_are_untouched_bit_for_bit():
    x = images(64, 8, 8, 3)
    pipe = make(size=(8, 8))
    kept = [np.reshape(v, [64, -1]) for v in pipe._kept(64, 0.05, KEY).values()]
    kept = np.any(np.concatenate(kept, axis=1), axis=1)
    changed = np.any(pipe(x, 0.05, KEY).numpy() != x, axis=(1, 2, 3))
    assert not np.any(changed & ~kept)
    # Half of the flips, for instance, are none.
    assert 15 < np.sum(changed) <= np.sum(kept) < 54


def test_oracle_order_of_the_stages():
    x = tf.constant(images(4, 10, 10, 3))
    pipe = make(size=(10, 10))
    drawn = pipe.draw(4, 1.0, KEY)
    y = geometry.warp(x, drawn["geometry"])
    y = colour.apply(y, drawn["colour"])
    y = filtering.apply(y, drawn["filter"]) + drawn["noise"]
    y = corruption.cut_out(y, drawn["cutout"])
    np.testing.assert_allclose(pipe(x, 1.0, KEY), y, rtol=1e-5, atol=1e-5)
    assert np.std(drawn["noise"]) > 0 and np.mean(y == 0) > 0.1


N = 20000


def shares(p, **kwargs):
    """{name: part of the images that a transformation is kept for}."""
    kept = make(**kwargs)._kept(N, p, KEY)
    parts = {name: np.mean(values) for name, values in kept.items()}
    if "rotate_before" in kept:
        turned = np.logical_or(kept["rotate_before"], kept["rotate_after"])
        parts["rotate"] = np.mean(turned)
    return parts


def test_statistics_of_what_is_kept():
    parts = shares(0.3)
    once = 1 - np.sqrt(0.7)
    for name in ("rotate_before", "rotate_after"):
        assert abs(parts.pop(name) - once) < 0.015
    assert set(parts) == set(pipeline.TRANSFORMS)
    for name, part in parts.items():
        assert abs(part - 0.3) < 0.015, name
    assert all(part == 1 for part in shares(1.7).values())


def test_strengths_multiply_p_and_0_is_off():
    strengths = {"noise": 0.5, "hue": 2.0, "xflip": 0, "rotate": 1.5}
    parts = shares(0.4, strengths=strengths)
    assert abs(parts["noise"] - 0.2) < 0.015 and abs(parts["hue"] - 0.8) < 0.015
    assert abs(parts["rotate"] - 0.6) < 0.015
    assert "xflip" not in parts and "cutout" not in parts


def test_decisions_are_independent():
    kept = make()._kept(N, 0.5, KEY)
    columns = [np.reshape(v, [N, -1]) for v in kept.values()]
    correlation = np.corrcoef(np.concatenate(columns, axis=1).T)
    assert np.abs(correlation - np.eye(len(correlation))).max() < 0.035


def test_draws_do_not_depend_on_what_else_there_is():
    few, many = make("blit").draw(5, 0.7, KEY), make().draw(5, 0.7, KEY)
    alone = make(strengths={"noise": 1}).draw(5, 0.7, KEY)
    assert np.array_equal(alone["noise"], many["noise"])
    assert few.keys() == {"geometry"}
    other = make().draw(5, 0.7, rng.fold(KEY, "other"))
    assert not np.array_equal(other["geometry"], many["geometry"])


def test_equivalence_rows_of_a_batch():
    """What a replica does to its rows is what one replica does to all of them."""
    x = tf.constant(images(6, 8, 10, 1))
    pipe = make(size=(8, 10), channels=1)
    drawn = pipe.draw(6, 0.4, KEY)
    whole = pipe.apply(x, drawn)
    for start in (0, 1):
        rows = {name: values[start::2] for name, values in drawn.items()}
        part = pipe.apply(x[start::2], rows)
        np.testing.assert_allclose(part, whole[start::2], atol=2e-6)


def cubes(x, pipe, p):
    return tf.reduce_sum(pipe(x, p, KEY) ** 3)


@pytest.mark.parametrize("impl", ["reference", "compiled"])
def test_gradients_of_both_orders(impl):
    if impl == "compiled":
        ops.library.library()  # An error where there is none.
    pipe, p = make(size=(6, 6)), 0.4
    x, v = tf.constant(images(4, 6, 6, 3)), tf.constant(images(4, 6, 6, 3, seed=1))

    @tf.function
    def derivatives(x):
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as tape:
                tape.watch(x)
                value = cubes(x, pipe, p)
            first = tape.gradient(value, x)
            along = tf.reduce_sum(first * v)
        return value, first, along, outer.gradient(along, x)

    step = 2e-2
    with ops.library.implementation(impl):
        _, _, along, second = derivatives(x)
        plus, first_plus, along_plus, _ = derivatives(x + step * v)
        minus, first_minus, along_minus, _ = derivatives(x - step * v)
    # A cubic: central differences of it are off by step^2 times cubes of v alone.
    cube = (plus - minus) / (2 * step) - along
    assert abs(cube) < 2e-2 * abs(along)
    numeric = (first_plus - first_minus) / (2 * step)  # the gradient is quadratic
    scale = np.abs(second).max()
    np.testing.assert_allclose(second, numeric, atol=2e-4 * scale)
    assert abs(tf.reduce_sum(second * v) - (along_plus - along_minus) / (2 * step)) < (
        1e-3 * abs(along)
    )


@pytest.mark.parametrize("size, channels", [((8, 12), 3), ((9, 5), 1), ((4, 4), 1)])
def test_any_size_and_grey(size, channels):
    x = images(5, *size, channels)
    y = make(size=size, channels=channels)(x, 0.9, KEY)
    assert y.shape == x.shape and np.isfinite(y).all()
    assert np.all(np.std(y - x, axis=(1, 2, 3)) > 0)


def test_colours_need_grey_or_rgb():
    with pytest.raises(ValueError, match="channels must be 1 .* or 3 .*; got 4"):
        make("color", channels=4)
    y = make("bg", (6, 6), 4)(images(2, 6, 6, 4), 1.0, KEY)
    assert y.shape == (2, 6, 6, 4)


@pytest.mark.parametrize(
    "kwargs, message",
    [
        ({"preset": "bcg"}, "preset must be one of blit, .*; got 'bcg'"),
        ({"strengths": {"flip": 1}}, "strengths must be of xflip, .*; got 'flip'"),
        ({"strengths": {"hue": -1}}, r"strengths\['hue'\] must be .* got -1"),
        ({"strengths": {"hue": float("nan")}}, "must be finite"),
        ({"size": (0, 4)}, "height, width and channels must be positive"),
    ],
)
def test_wrong_arguments_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        make(**kwargs)


def test_images_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"images must be \[N, 12, 12, 3\]; got"):
        make()(images(2, 12, 11, 3), 0.5, KEY)
