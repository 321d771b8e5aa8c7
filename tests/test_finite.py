"""Gradients that are not finite: skipped or zeroed, told, the same on all replicas."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfstylegan.training import finite, precision

NAN, INF = float("nan"), float("inf")
SHAPES = ([], [2, 3], [4])
OPTIMIZERS = {"sgd": keras.optimizers.SGD, "adam": keras.optimizers.Adam}


class Rig:
    """Three variables under an optimizer, on so many replicas."""

    def __init__(self, replicas=1, optimizer="sgd", *, xla=False):
        devices = [f"CPU:{i}" for i in range(replicas)]
        self.strategy = tf.distribute.MirroredStrategy(
            devices, cross_device_ops=tf.distribute.ReductionToOneDevice()
        )
        with self.strategy.scope():
            self.variables = [keras.Variable(np.ones(shape)) for shape in SHAPES]
            self.optimizer = OPTIMIZERS[optimizer](1.0)
            self.optimizer.build(self.variables)
        self.run = self.strategy.run
        if xla:
            self.run = precision.compiled(self.run)

    def apply(self, *gradients, zero=False, plain=False):
        """What is told of the gradients of each replica."""
        values = [tf.stack([g[i] for g in gradients]) for i in range(len(SHAPES))]

        def step():
            context = tf.distribute.get_replica_context()
            mine = [v[context.replica_id_in_sync_group] for v in values]
            if plain:
                return self.optimizer.apply(mine, self.variables)
            return finite.apply(self.optimizer, mine, self.variables, zero=zero)

        told = tf.function(lambda: self.run(step, args=()))()
        if plain:
            return None
        found = {}
        for field, name in zip(finite.FIELDS, finite.NAMES, strict=True):
            first, *others = self.strategy.experimental_local_results(told[name])
            assert all(np.array_equal(first, other) for other in others)
            found[field] = float(first)
        return found

    @property
    def values(self):
        found = [*self.variables, *self.optimizer.variables]
        local = [self.strategy.experimental_local_results(v.value) for v in found]
        for parts in local:
            assert all(np.array_equal(p, parts[0]) for p in parts)
        return [parts[0].numpy() for parts in local]


def gradients(seed=0, **faults):
    """Random ones; faults: {"v1": {(0, 2): nan}} in variable 1."""
    random = np.random.default_rng(seed)
    found = [random.normal(size=shape).astype(np.float32) for shape in SHAPES]
    for name, places in faults.items():
        for place, value in places.items():
            found[int(name[1:])][place] = value
    return found


@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_finite_gradients_are_the_optimizers_own_business(replicas, optimizer):
    rigs = [Rig(replicas, optimizer) for _ in range(2)]
    for seed in range(3):
        each = [gradients(seed + 10 * r) for r in range(replicas)]
        told = rigs[0].apply(*each)
        rigs[1].apply(*each, plain=True)
        assert not any(told.values())
    for a, b in zip(rigs[0].values, rigs[1].values, strict=True):
        assert np.array_equal(a, b)


@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize("value", [NAN, INF, -INF, 1e30])
def test_a_step_is_skipped_on_all_replicas(replicas, value):
    rig = Rig(replicas, "adam")
    rig.apply(*[gradients(7)] * replicas)
    before = rig.values
    told = rig.apply(*[gradients(1)] * (replicas - 1), gradients(v1={(0, 2): value}))
    for a, b in zip(before, rig.values, strict=True):
        assert np.array_equal(a, b)
    assert (told["elements"], told["skipped"], told["variable"]) == (1, 1, 1)
    rig.apply(*[gradients(8)] * replicas)  # as if nothing had been
    assert rig.optimizer.iterations.numpy() == 2
    assert np.isfinite(np.concatenate([v.ravel() for v in rig.values])).all()


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("replicas", [1, 2])
def test_elements_are_zeroed_in_the_sum(replicas, optimizer):
    faults = {"v0": {(): NAN}, "v2": {1: INF, 3: -INF}}
    each = [gradients(1)] * (replicas - 1) + [gradients(**faults)]
    rig, clean = Rig(replicas, optimizer), Rig(1, optimizer)
    told = rig.apply(*each, zero=True)
    total = [sum(parts) for parts in zip(*each, strict=True)]
    total = [np.where(np.isfinite(t), t, 0).astype(np.float32) for t in total]
    clean.apply(total, plain=True)
    for a, b in zip(rig.values, clean.values, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    assert (told["elements"], told["skipped"], told["variable"]) == (3, 0, 0)


def test_facts_are_of_the_first_variable_with_a_fault():
    faults = {"v1": {(0, 0): NAN, (1, 1): INF, (1, 2): -INF}, "v2": {0: NAN}}
    found = gradients(**faults)
    told = Rig().apply(found)
    good = found[1][np.isfinite(found[1])].astype(np.float64)
    expected = [4, 1, 1, 1, 2, good.min(), good.max(), good.mean()]
    np.testing.assert_allclose(list(told.values()), expected, rtol=1e-6)
    told = Rig().apply(gradients(v2=dict.fromkeys(range(4), NAN)))
    assert list(told.values()) == [4, 1, 2, 4, 0, 0, 0, 0]


def test_opposite_infinities_do_not_cancel():
    one, other = gradients(v2={0: INF}), gradients(v2={0: -INF})
    assert Rig(2).apply(one, other)["skipped"] == 1


@pytest.mark.parametrize("zero", [False, True])
def test_compiled_by_xla_it_is_the_same(zero):
    plain, compiled = (Rig(1, "adam", xla=xla) for xla in (False, True))
    nan = {"v2": dict.fromkeys(range(4), NAN)}
    for faults in ({}, {"v1": {(0, 2): NAN, (1, 0): INF}}, nan, {"v0": {(): 1e30}}):
        found = gradients(3, **faults)
        told = [rig.apply(found, zero=zero) for rig in (plain, compiled)]
        assert told[0] == told[1] and bool(told[0]["elements"]) == bool(faults)
        for a, b in zip(plain.values, compiled.values, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6)


def test_or_else_is_for_each_element():
    value = finite.or_else(tf.constant([1.0, NAN, INF]), tf.constant([5.0, 6.0, 7.0]))
    assert value.numpy().tolist() == [1, 6, 7]
