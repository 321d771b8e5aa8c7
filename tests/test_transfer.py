"""Runs that start with the networks of another run or model: config.resume_from."""

import shutil

import numpy as np
import pytest
import tensorflow as tf
from test_commands import contents, fails, run
from test_loop import tiny_config

from tfstylegan import config as config_lib
from tfstylegan.data import sources
from tfstylegan.networks import build, storage
from tfstylegan.training import loop as loop_lib
from tfstylegan.training import state as state_lib
from tfstylegan.training import transfer, workdir

FIELDS = {"G": "g", "D": "d", "G_ema": "g_ema"}


def networks(config, names=FIELDS, seed=0):
    """Networks with random values in every variable."""
    random = np.random.default_rng(seed)
    made = dict.fromkeys(FIELDS)
    for name in names:
        make = build.build_discriminator if name == "D" else build.build_generator
        made[name] = make(config)
        for variable in made[name].variables:
            variable.assign(random.uniform(0.1, 0.9, size=variable.shape))
    return storage.Networks(**made, config=config)


def values(network):
    return {v.path: np.asarray(v) for v in network.variables}


def same(one, other, leave_out="none"):
    one, other = values(one), values(other)
    assert one.keys() == other.keys()
    names = [name for name in one if not name.endswith(leave_out)]
    return all(np.array_equal(one[name], other[name]) for name in names)


@pytest.fixture
def model(tmp_path):
    """A model directory, and its networks."""
    made = networks(tiny_config())
    storage.save_networks(tmp_path / "model", made)
    return tmp_path / "model", made


def test_every_network_is_taken_over(model):
    path, made = model
    state = state_lib.create(tiny_config(), 0)
    transfer.take_over(state, path)
    for name, field in FIELDS.items():
        assert same(getattr(made, name), getattr(state, field))
    assert int(state.cur_nimg) == int(state.g_optimizer.iterations) == 0


def test_an_average_stands_for_a_missing_generator(tmp_path):
    made = networks(tiny_config(), ["D", "G_ema"])
    storage.save_networks(tmp_path, made)
    state = state_lib.create(tiny_config(), 0)
    transfer.take_over(state, tmp_path)
    assert same(state.g, made.G_ema)
    assert same(state.g_ema, made.G_ema)


def test_growth_is_that_of_the_run(tmp_path):
    config = tiny_config()
    for network in (config.generator, config.discriminator):
        network.architecture = "growing"
    made = networks(config)
    storage.save_networks(tmp_path, made)
    config.growing.initial_resolution = 4
    state = state_lib.create(config, 0)
    for network in (state.g, state.d, state.g_ema):
        network.grow(1.0)
    transfer.take_over(state, tmp_path)
    assert float(state.g.synthesis.lod) == float(state.d.lod) == 1
    assert same(state.g, made.G, "/lod") and same(state.d, made.D, "/lod")


@pytest.mark.parametrize(
    "names, change, words",
    [
        (["G", "G_ema"], None, "has no network D"),
        (FIELDS, ("discriminator", "fmap_max", 3), "discriminator/.* has shape"),
        (FIELDS, ("generator", "architecture", "orig"), "does not exist"),
        (FIELDS, ("generator", "mapping_layers", 2), "does not exist, this run's has"),
    ],
)
def test_other_networks_are_refused(tmp_path, names, change, words):
    storage.save_networks(tmp_path, networks(tiny_config(), names))
    config = tiny_config()
    if change:
        section, field, value = change
        setattr(getattr(config, section), field, value)
    state = state_lib.create(config, 0)
    before = values(state.g) | values(state.d) | values(state.g_ema)
    with pytest.raises(ValueError, match=words):
        transfer.take_over(state, tmp_path)
    after = values(state.g) | values(state.d) | values(state.g_ema)
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_a_run_starts_there_and_then_goes_its_own_way(model, tmp_path):
    path, made = model
    config = tiny_config()
    config.resume_from = str(path)
    config.train.total_kimg = 0.004
    config.train.metrics = ()

    workdir.lock(tmp_path / "run").close()  # makes the folder
    source = sources.open_source("digits", height=8, width=8, channels=1)

    def loop():
        strategy = tf.distribute.MirroredStrategy(["CPU:0"])
        return loop_lib.Loop(config, tmp_path / "run", source, strategy)

    first = loop()
    assert same(first.state.g, made.G) and same(first.state.d, made.D)
    first.run()
    workdir.claim(tmp_path / "run", config, source)
    shutil.rmtree(path)  # needed at the start only
    again = loop()
    assert same(again.state.d, first.state.d)
    assert not same(again.state.d, made.D)
    workdir.check(tmp_path / "run", config)
    config.resume_from = ""
    workdir.check(tmp_path / "run", config)


def test_origin_that_cannot_be(tmp_path):
    for origin in (tmp_path / "missing", tmp_path):
        flags = [f"--config.resume_from={origin}", f"--workdir={tmp_path}"]
        fails(run("train", *flags), origin)
    assert not contents(tmp_path)


def test_the_folder_of_a_run_is_a_configuration(tmp_path):
    config = tiny_config()
    config.train.grid = (1, 3)
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / config_lib.CONFIG_FILE).write_text(config.to_json())
    flags = ["--config.train.batch_size=8", "--dry_run"]
    done = run("train", "--config=mine", *flags, cwd=tmp_path)
    config.train.batch_size = 8
    assert config_lib.from_json(done.stdout) == config
    fails(run("train", f"--config={tmp_path}", "--dry_run"), tmp_path, "config.json")
