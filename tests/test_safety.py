"""A run that meets or keeps what is not finite: goes on, stops, or goes back."""

import json

import numpy as np
import pytest
import tensorflow as tf
from test_loop import lines, tiny_config
from test_presets import eagerly, variables  # noqa: F401 (a fixture)

from tfstylegan import checkpoints, rng
from tfstylegan.data import sources
from tfstylegan.training import finite, safety, saving, showing, workers
from tfstylegan.training import loop as loop_lib
from tfstylegan.training import state as state_lib
from tfstylegan.training import told as told_lib

NAN, INF = float("nan"), float("inf")


def told_of(*series, phase="d_main", start=0):
    """What a tick tells whose steps tell these dictionaries."""
    told = told_lib.Told()
    for step, values in enumerate(series, start):
        tensors = {name: tf.constant(value) for name, value in values.items()}
        told.add(phase, step, 4 * (step + 1), tensors)
    return told.read()


def fault(**fields):
    values = [tf.constant(fields.get(n, 0), tf.float64) for n in finite.FIELDS]
    return dict(zip(finite.NAMES, values, strict=True))


def test_told_means_are_of_finite_values_and_faults_are_found():
    told = told_of(
        {"loss/d_main": 1.0, "of_step": [1.0]},
        {"loss/d_main": NAN, "of_step": [2.0]},
        {"loss/d_main": 3.0, "of_step": [NAN]},
    )
    assert told.scalars["loss/d_main"] == 2
    assert np.isnan(told.vectors["of_step"][0])
    faults = [event[-1] for event in told.events]
    assert faults[0] is None and faults[2] is None
    assert faults[1][0] == "loss/d_main" and np.isnan(faults[1][1])
    assert told.events[1][:3] == ("d_main", 1, 8)
    assert np.isnan(told_of({"a": NAN}, {"a": NAN}).scalars["a"])


def test_told_gradients_are_counted():
    told = told_of(
        {"a": 1.0, **fault()},
        {"a": NAN, **fault(elements=3, skipped=1, variable=2)},
        {"a": 1.0, **fault(elements=4)},
    )
    assert told.scalars["safety/nonfinite_gradients"] == 7
    assert told.scalars["safety/skipped_steps"] == 1
    name, facts = told.events[1][-1]  # not of the loss: a variable says more
    assert name == finite.NAME and facts["variable"] == 2
    assert told_of({"a": 1.0}).scalars["safety/skipped_steps"] == 0


def alone():
    return workers.Workers(tf.distribute.get_strategy())


@pytest.fixture(scope="module")
def state():
    return state_lib.create(tiny_config(), 0)


def watch(state, **train):
    config = tiny_config().train
    for name, value in train.items():
        setattr(config, name, value)
    return safety.Watch(config, state, alone())


def test_watch_counts_steps_in_a_row_across_ticks_and_phases(state):
    guard = watch(state, nonfinite_steps=3)
    bad, good = {"loss/a": NAN}, {"loss/a": 1.0}
    guard.check(told_of(good, bad, bad).events)
    guard.check(told_of(bad, bad, phase="g_reg").events)  # another phase
    guard.check(told_of(good, bad, bad, start=3).events)
    words = "3 steps in a row with a fault: in phase d_main of step 4, kimg 0.02: .*nan"
    with pytest.raises(safety.Diverged, match=words):
        guard.check(told_of(bad, start=6).events)


def test_watch_stops_at_once_where_it_is_to(state):
    watch(state, nonfinite="skip").check(told_of(fault(elements=1)).events)
    with pytest.raises(safety.Diverged) as error:
        facts = {"elements": 2, "variable": 1, "nan": 1, "inf": 1, "min": -0.5}
        watch(state, nonfinite="stop").check(told_of(fault(**facts)).events)
    variable = state.d.trainable_variables[1]
    for word in (variable.path, str(list(variable.shape)), "1 nan and 1 inf", "-0.5"):
        assert word in str(error.value)


@pytest.mark.parametrize("part", ["g", "d", "g_ema", "d_optimizer", "pl_mean"])
@pytest.mark.parametrize("value", [NAN, INF])
def test_the_first_variable_that_is_not_finite_is_named(state, part, value):
    assert safety.fault_of(state) is None
    owner = getattr(state, part)
    variable = owner if part == "pl_mean" else owner.variables[-1]
    before = variable.numpy()
    changed = before.copy() if before.ndim else np.float32(value)
    if before.ndim:
        changed.flat[-1] = value
    variable.assign(changed)
    text = safety.fault_of(state)
    variable.assign(before)
    name = part if part == "pl_mean" else f"{part}/{variable.path}"
    assert text.startswith(f"{name} {list(before.shape)}")
    counts = "1 nan and 0 inf" if np.isnan(value) else "0 nan and 1 inf"
    assert counts in text
    assert safety.fault_of(state) is None


def test_large_numbers_are_finite(state):
    variable = state.d.trainable_variables[0]
    before = variable.numpy()
    variable.assign(np.full(before.shape, 1e30, np.float32))  # its square is not
    assert safety.fault_of(state) is None
    variable.assign(before)


def test_a_state_that_is_not_finite_is_never_saved(state, tmp_path):
    saves = saving.Saves(state, tmp_path, alone(), keep=2)
    saves.save(1, 4)
    before = state.pl_mean.numpy()
    state.pl_mean.assign(NAN)
    with pytest.raises(safety.Diverged, match="no checkpoint was written: pl_mean"):
        saves.save(2, 8)
    state.pl_mean.assign(before)
    assert checkpoints.numbers(tmp_path) == [4] and saves.newest == 4


def make(path, config, source=None):
    source = source or sources.open_source("digits", height=8, width=8, channels=1)
    path.mkdir(exist_ok=True)
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    return loop_lib.Loop(config, path, source, strategy)


def run_config(**train):
    """Two steps a tick, a checkpoint at each, six ticks."""
    config = tiny_config()
    config.train.total_kimg = 0.048
    config.train.checkpoint_ticks = 1
    config.train.image_ticks = config.train.metric_ticks = 100
    config.train.metrics, config.train.metric_images = (), 2
    config.train.keep_checkpoints = 100
    config.loss.pl_interval = config.loss.r1_interval = 2
    for name, value in train.items():
        setattr(config.train, name, value)
    return config.validate()


@pytest.fixture
def light(monkeypatch):
    """Runs whose phases are real optimizer steps, with gradients out of thin air.

    They depend on the seed, the step and the data, as real ones do.
    """

    def phases(self, batch, step, cur_nimg):
        for name in ("g_main", "d_main"):
            yield name, lambda name=name: apply(self, name, batch, step)

    def apply(steps, name, batch, step):
        network = getattr(steps.state, name[0])
        optimizer = getattr(steps.state, f"{name[0]}_optimizer")
        variables = network.trainable_variables[:3]

        def gradients():
            key = rng.seed(steps.config.seed, name, step)
            mean = tf.reduce_mean(tf.cast(batch["image"], tf.float32))
            found = [mean * rng.normal(key, v.shape) for v in variables]
            zero = steps.config.train.nonfinite == "zero"
            apply = loop_lib.steps_lib.finite.apply
            return apply(optimizer, found, variables, zero=zero)

        told = steps.strategy.run(gradients)
        total = sum(tf.reduce_sum(v.value) for v in variables)
        return {f"loss/{name}": total, **told}

    monkeypatch.setattr(loop_lib.steps_lib.Steps, "phases", phases)
    for view in ("reals", "pictures", "metrics"):
        monkeypatch.setattr(
            showing.gallery.Gallery, view, fake_view(view), raising=True
        )
    monkeypatch.setattr(showing.storage, "save_networks", lambda *_: None)


def fake_view(name):
    def view(self, cur_nimg):
        return {}

    view.__name__ = name
    return view


def break_gradients(monkeypatch, broken):
    """One element of the first gradient is nan at the calls that `broken` holds."""
    apply, calls = finite.apply, []

    def faulty(optimizer, gradients, variables, **options):
        calls.append(optimizer.name)
        if broken(len(calls) - 1):
            first = gradients[0]
            mask = tf.scatter_nd([[0]], [NAN], [tf.size(first)])
            gradients = [first + tf.reshape(mask, first.shape), *gradients[1:]]
        return apply(optimizer, gradients, variables, **options)

    monkeypatch.setattr(loop_lib.steps_lib.finite, "apply", faulty)
    return calls


@pytest.mark.parametrize("policy, skipped", [("skip", 1), ("zero", 0)])
def test_a_nan_in_a_gradient_is_survived(light, tmp_path, monkeypatch, policy, skipped):
    calls = break_gradients(monkeypatch, lambda call: call == 5)
    loop = make(tmp_path, run_config(nonfinite=policy))
    loop.run()
    told = lines(tmp_path, "tick")
    assert sum(line["safety/nonfinite_gradients"] for line in told) == 1
    assert sum(line["safety/skipped_steps"] for line in told) == skipped
    name = calls[5]
    steps = getattr(loop.state, name).iterations.numpy()
    assert steps == calls.count(name) - skipped
    assert all(np.isfinite(v).all() for v in variables(loop))
    assert loop.cur_nimg == 48


def test_a_nan_in_a_gradient_stops_the_run_that_is_to(light, tmp_path, monkeypatch):
    break_gradients(monkeypatch, lambda call: call == 5)
    loop = make(tmp_path, run_config(nonfinite="stop"))
    with pytest.raises(safety.Diverged) as error:
        loop.run()
    for word in ("gradient of", "1 nan and 0 inf", "phase", "of step 2", "ckpt-8"):
        assert word in str(error.value)
    assert checkpoints.numbers(loop.checkpoints) == [8]
    assert [line["cur_nimg"] for line in lines(tmp_path, "tick")] == [8]
    assert not (tmp_path / "model").exists()


def test_gradients_that_stay_nan_end_the_run(light, tmp_path, monkeypatch):
    break_gradients(monkeypatch, lambda call: call > 5)
    loop = make(tmp_path, run_config(nonfinite_steps=3))
    with pytest.raises(safety.Diverged, match="3 steps in a row .* the gradient of"):
        loop.run()
    assert all(np.isfinite(v).all() for v in variables(loop))


def test_a_nan_in_the_data_is_survived(eagerly, tmp_path):  # noqa: F811
    digits = sources.open_source("digits", height=8, width=8, channels=1, labels=True)
    labels = np.array(digits.labels[:8])
    labels[3, 0] = NAN  # one image of eight: in every other batch
    source = sources.ArraySource(
        np.array(digits.images(np.arange(8))),
        labels,
        description="broken",
        fingerprint="",
    )
    config = run_config()
    config.data.labels, config.train.total_kimg = True, 0.016
    loop = make(tmp_path, config, source)
    loop.run()
    told = lines(tmp_path, "tick")
    assert len(told) == 2
    assert sum(line["safety/skipped_steps"] for line in told) >= 4
    assert all(np.isfinite(line["loss/d_main"]) for line in told)
    assert all(np.isfinite(v).all() for v in variables(loop))
    assert np.isfinite(loop.state.g.w_avg.numpy()).all()
    assert np.isfinite(loop.state.pl_mean.numpy())


def poison(loop, when):
    """A weight of D turns to nan before the steps at which when(seed, step) holds."""
    step = loop._step

    def poisoned(batch):
        if when(loop.steps.config.seed, loop.step):
            variable = loop.state.d.trainable_variables[0]
            values = variable.numpy()
            values.flat[0] = NAN
            variable.assign(values)
        return step(batch)

    loop._step = poisoned


def test_a_nan_in_a_weight_ends_the_run(light, tmp_path):
    loop = make(tmp_path, run_config())
    poison(loop, lambda seed, step: step == 5)
    with pytest.raises(safety.Diverged) as error:
        loop.run()
    path = loop.state.d.trainable_variables[0].path
    for word in (f"d/{path} [", "holds 1 nan", "of step 5", "kimg 0.024", "ckpt-16"):
        assert word in str(error.value)
    assert checkpoints.numbers(loop.checkpoints) == [8, 16]
    again = make(tmp_path, run_config())  # the same command, the fault gone
    assert again.cur_nimg == 16
    again.run()
    assert again.cur_nimg == 48


def saved(path):
    """Every variable of every checkpoint, and the ticks."""
    found = {}
    for number in checkpoints.numbers(path / "checkpoints"):
        reader = tf.train.load_checkpoint(
            checkpoints.path_of(path / "checkpoints", number)
        )
        for name in reader.get_variable_to_shape_map():
            if not name.startswith(("_CHECKPOINTABLE", "save_counter")):
                found[number, name] = reader.get_tensor(name)
    ticks = [
        {k: v for k, v in line.items() if not k.startswith(("timing/", "resources/"))}
        for line in lines(path, "tick")
    ]
    return found, ticks


def same(one, other):
    (a, ticks_a), (b, ticks_b) = saved(one), saved(other)
    assert a.keys() == b.keys()
    return ticks_a == ticks_b and all(np.array_equal(a[k], b[k]) for k in a)


def test_a_run_goes_back_with_other_numbers_and_resumes_exactly(light, tmp_path):
    config = run_config(rollbacks=2)

    def when(seed, step):  # not with the numbers after going back
        return seed == config.seed and step == 5

    straight, killed, quiet = (tmp_path / n for n in ("straight", "killed", "quiet"))
    loop = make(straight, config)
    poison(loop, when)
    loop.run()
    assert loop.saves.rollbacks == 1 and loop.cur_nimg == 48
    ticks = [line["cur_nimg"] for line in lines(straight, "tick")]
    assert ticks == [8, 16, 24, 32, 40, 48]
    counts = [line["safety/rollbacks"] for line in lines(straight, "tick")]
    assert counts == [0, 0, 1, 1, 1, 1]
    # Without a fault nothing is different up to there, and everything after.
    make(quiet, config).run()
    a, b = saved(straight)[0], saved(quiet)[0]
    equal = {n for n, _ in a if all(np.array_equal(a[k], b[k]) for k in a if k[0] == n)}
    assert equal == {8, 16}
    # Killed after the rollback, before and after the next checkpoint.
    for end in (20, 32):
        killed_at(killed, config, when, end)
    loop = make(killed, config)
    assert loop.saves.rollbacks == 1
    poison(loop, when)
    loop.run()
    assert same(straight, killed)


def killed_at(path, config, when, end):
    """A run that is lost once it has gone back and seen so many images."""
    loop = make(path, config)
    poison(loop, when)
    step = loop._step

    def last(batch):
        if loop.saves.rollbacks and loop.cur_nimg >= end:
            raise KeyboardInterrupt
        return step(batch)

    loop._step = last
    with pytest.raises(KeyboardInterrupt):
        loop.run()


def test_a_run_goes_back_so_often_and_no_more(light, tmp_path):
    loop = make(tmp_path, run_config(rollbacks=2))
    poison(loop, lambda seed, step: step == 5)
    with pytest.raises(safety.Diverged, match="of kimg 0.016"):
        loop.run()
    assert loop.saves.rollbacks == 2
    assert checkpoints.numbers(loop.checkpoints) == [8, 16]


def test_without_a_checkpoint_there_is_no_way_back(light, tmp_path):
    loop = make(tmp_path, run_config(rollbacks=2))
    poison(loop, lambda seed, step: step == 0)
    with pytest.raises(safety.Diverged, match="there is no sound checkpoint"):
        loop.run()
    assert not loop.report.lines()


def test_checkpoints_without_rollbacks_are_as_before(state, tmp_path):
    saves = saving.Saves(state, tmp_path, alone(), keep=2)
    saves.save(1, 4)
    assert not list(tmp_path.glob("*.notes"))
    saves.rollbacks = 3
    saves.save(2, 8)
    names = json.loads((tmp_path / "ckpt-8.json").read_text())["files"]
    assert "ckpt-8.notes" in names  # sealed
    again = saving.Saves(state, tmp_path, alone(), keep=2)
    assert again.restore() and again.rollbacks == 3
    assert again.seed(5) != 5
    assert saving.Saves(state, tmp_path, alone(), keep=2).seed(5) == 5
