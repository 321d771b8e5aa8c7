"""Named, stateless random streams."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from tfstylegan import rng


def draw(*key):
    return rng.normal(rng.seed(*key), [8]).numpy()


def test_streams_seeds_and_counters_all_matter():
    keys = [
        (1, "z"),
        (2, "z"),
        (1, "noise"),
        (1, "z", 0),
        (1, "z", 1),
        (1, "z", 1, 2),
        (1, "z", 2, 1),
        (1, "z", 1, 2, 0),
    ]
    for a, b in itertools.combinations(keys, 2):
        assert not np.any(np.isclose(draw(*a), draw(*b))), (a, b)
    for key in keys:
        assert np.array_equal(draw(*key), draw(*key))


def test_streams_are_pinned():
    """A resumed run must draw what the older program would have drawn."""
    np.testing.assert_array_equal(rng.seed(1000, "z"), [1000, 828980183])
    np.testing.assert_array_equal(rng.seed(1000, "z", 5, 1), [-2145519276, 1])
    assert rng.child(1000, "generator") == 1319730097


def test_streams_do_not_depend_on_global_state():
    tf.keras.utils.set_random_seed(1)
    first = draw(3, "z", 7)
    tf.keras.utils.set_random_seed(2)
    tf.random.normal([3])
    assert np.array_equal(first, draw(3, "z", 7))


def test_graph_and_eager_draw_the_same_numbers():
    @tf.function
    def in_graph(step):
        return rng.normal(rng.seed(5, "z", step, 3), [4, 2])

    for step in (0, 1, 12345):
        eager = rng.normal(rng.seed(5, "z", step, 3), [4, 2])
        assert np.array_equal(in_graph(tf.constant(step)), eager)
        assert np.array_equal(in_graph(tf.constant(step, tf.int64)), eager)


def test_seed_is_two_int32():
    key = rng.seed(2**31 - 1, "z")
    assert key.shape == (2,) and key.dtype == tf.int32


@pytest.mark.parametrize("size", [1, 2, 3, 10, 1797])
@pytest.mark.parametrize("epoch", [0, 1])
def test_shuffled_index_is_a_permutation(size, epoch):
    key = rng.seed(9, "shuffle", epoch)
    places = tf.map_fn(lambda i: rng.shuffled_index(i, size, key), tf.range(size))
    assert np.array_equal(np.sort(places), np.arange(size))


def test_shuffled_index_changes_with_the_key_and_is_not_the_identity():
    keys = [rng.seed(9, "shuffle", epoch) for epoch in range(2)]
    orders = [[int(rng.shuffled_index(i, 50, key)) for i in range(50)] for key in keys]
    assert orders[0] != orders[1]
    for order in orders:
        assert sum(i == place for i, place in enumerate(order)) < 10


def test_normal_has_the_moments_of_a_standard_normal():
    x = rng.normal(rng.seed(1, "z"), [200_000]).numpy().astype(np.float64)
    for power, moment, spread in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs(np.mean(x**power) - moment) < 5 * np.sqrt(spread / len(x)), power


def test_uniform_stays_in_its_range_and_fills_it():
    x = rng.uniform(rng.seed(1, "u"), [10_000], -2.0, 3.0).numpy()
    assert -2 <= x.min() < -1.99 and 2.99 < x.max() < 3
    n = rng.uniform(rng.seed(1, "u"), [1000], 1, 4, dtype=tf.int32).numpy()
    assert set(n.tolist()) == {1, 2, 3}


def test_fresh_seeds_differ_in_graphs_too():
    @tf.function
    def in_graph():
        return rng.fresh_seed()

    seeds = {tuple(f().numpy()) for f in (in_graph, rng.fresh_seed) for _ in range(3)}
    assert len(seeds) == 6


def test_seed_latent_is_that_of_numpy_random_state():
    expected = np.random.RandomState(6).randn(512).astype(np.float32)
    got = rng.seed_latent(6, 512)
    assert got.dtype == np.float32
    assert np.array_equal(got, expected)
    assert got[0] == np.float32(-0.31178367)  # of every NumPy since 1.0


def test_child_seeds():
    assert rng.child(None, "kernel") is None
    children = [rng.child(s, f"n{i}") for s in range(50) for i in range(50)]
    assert len(set(children)) == 2500
    assert all(isinstance(c, int) and 0 <= c < 2**31 for c in children)


def test_normal_initializer_is_a_function_of_seed_and_name():
    def numbers(*key, **kwargs):
        return np.array(rng.normal_initializer(*key, **kwargs)((1000,)))

    first = numbers(1, "kernel")
    assert np.array_equal(first, numbers(1, "kernel"))
    assert not np.any(first == numbers(1, "fixed"))
    assert not np.any(first == numbers(2, "kernel"))
    np.testing.assert_allclose(numbers(1, "kernel", stddev=4.0), 4 * first, rtol=1e-5)
    assert not np.any(numbers(None, "kernel") == numbers(None, "kernel"))
