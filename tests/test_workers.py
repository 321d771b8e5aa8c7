"""Who a worker is, what workers agree on, and that equal replicas are equal."""

import json
import signal
import sys

import numpy as np
import pytest
import tensorflow as tf
from test_commands import fails, run

from tfstylegan import checkpoints, train
from tfstylegan import config as config_lib
from tfstylegan.data import sources
from tfstylegan.training import cluster, devices, workers
from tfstylegan.training import loop as loop_lib
from tfstylegan.training import state as state_lib


def described(kind="worker", index=0, **jobs):
    jobs = jobs or {"worker": ["a:1", "b:2"]}
    return json.dumps({"cluster": jobs, "task": {"type": kind, "index": index}})


@pytest.mark.parametrize(
    "text, index, count",
    [
        (described(), 0, 2),
        (described(index=1), 1, 2),
        (described("chief", chief=["c:3"], worker=["a:1", "b:2"]), 0, 3),
        (described("worker", 1, chief=["c:3"], worker=["a:1", "b:2"]), 2, 3),
    ],
)
def test_cluster_numbers_its_workers(monkeypatch, text, index, count):
    monkeypatch.setenv("TF_CONFIG", text)
    for strategy in ("auto", "multi_worker"):
        found = cluster.find(strategy)
        assert (found.index, len(found.addresses)) == (index, count)
        assert found.is_chief == (index == 0)
    assert cluster.find("mirrored") is cluster.find("tpu") is None


@pytest.mark.parametrize(
    "text, message",
    [
        ("{", "must be JSON"),
        ("[]", "must be JSON"),
        ('{"cluster": {"worker": ["a:1"]}}', "must be JSON"),
        (described("worker", "x"), "must be JSON"),
        (described(index=2), "must have its own task"),
        (described(index=-1), "must have its own task"),
        (described("chief"), "must have its own task"),
        (described("ps", ps=["a:1"]), "must have workers, and at most one chief"),
        (
            described("chief", chief=["a:1", "b:2"]),
            "must have workers, and at most one chief",
        ),
    ],
)
def test_wrong_cluster_is_named(monkeypatch, text, message):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ValueError, match=f"TF_CONFIG {message}") as error:
        cluster.find("auto")
    assert text in str(error.value)


def test_a_run_without_a_cluster_is_one_process(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert cluster.find("auto") is None
    with pytest.raises(ValueError, match="'multi_worker' needs .* TF_CONFIG"):
        cluster.find("multi_worker")
    monkeypatch.setenv("TF_CONFIG", described(worker=["a:1"]))
    assert cluster.find("auto") is None
    assert cluster.find("multi_worker") == cluster.Cluster(("a:1",), 0)


def test_tpu_that_is_not_there_is_named():
    config = config_lib.Config()
    config.train.strategy = "tpu"
    with pytest.raises(ValueError, match="config.train.strategy must not be 'tpu'"):
        devices.strategy(config)


def test_one_process_agrees_with_itself():
    alone = workers.Workers(tf.distribute.get_strategy())
    assert alone.is_chief and alone.count == 1
    assert alone.everyones([3, -4]).tolist() == [[3, -4]]
    assert alone.of_chief(7) == 7
    alone.check_same("configuration", "text")
    variable = tf.Variable(2.0)
    alone.share([variable])
    alone.part()
    assert variable.numpy() == 2


def test_lost_workers_are_told_from_other_errors():
    aborted = "Collective ops is aborted by: connection reset"
    assert workers.is_lost(tf.errors.UnavailableError(None, None, "gone"))
    assert workers.is_lost(tf.errors.InternalError(None, None, aborted))
    assert not workers.is_lost(tf.errors.InternalError(None, None, "shapes"))
    assert not workers.is_lost(ValueError("gone"))


def test_survivor_starts_the_same_command_again(monkeypatch, capsys):
    started = []
    monkeypatch.setattr(train.os, "execv", lambda *command: started.append(command))
    monkeypatch.setattr(train.time, "sleep", lambda seconds: None)
    lost = tf.errors.UnavailableError(None, None, "first line\nconnection reset")
    train._start_again(lost, None)
    assert started == [(sys.executable, [sys.executable, *sys.orig_argv[1:]])]
    assert "a worker was lost (connection reset)" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stopped:  # it does not outlive a Ctrl-C
        train._start_again(lost, signal.SIGINT)
    assert stopped.value.code == 128 + signal.SIGINT
    assert len(started) == 1


def test_command_names_a_wrong_cluster(tmp_path):
    result = run("train", f"--workdir={tmp_path / 'run'}", TF_CONFIG=described(index=2))
    fails(result, "TF_CONFIG must have its own task", '"index": 2')
    assert not (tmp_path / "run").exists()


def two_replicas():
    return tf.distribute.MirroredStrategy(
        ["CPU:0", "CPU:1"], cross_device_ops=tf.distribute.ReductionToOneDevice()
    )


def tiny_config():
    config = config_lib.Config()
    config.data.resolution, config.data.channels = 8, 1
    for network in (config.generator, config.discriminator):
        network.fmap_base, network.fmap_max = 16, 4
    config.generator.z_dim = config.generator.w_dim = 4
    config.generator.mapping_layers = 1
    config.train.batch_size = 8
    return config.validate()


def test_replicas_that_differ_stop_the_run_before_it_saves(tmp_path):
    source = sources.open_source("digits", height=8, width=8, channels=1)
    strategy = two_replicas()
    loop = loop_lib.Loop(tiny_config(), tmp_path, source, strategy)
    loop._save()
    assert checkpoints.numbers(loop.checkpoints) == [0]
    names = list(loop.state.variables())
    first, second = names[40], names[-5]
    for name in (second, first):
        variable = loop.state.variables()[name]
        copy = strategy.experimental_local_results(variable)[1]
        copy.assign(tf.cast(np.nextafter(copy.numpy(), np.float32(9)), copy.dtype))
    loop.cur_nimg = 8
    with pytest.raises(workers.Differ, match=f"{first} is not .* replica 1 as"):
        loop._save()
    assert checkpoints.numbers(loop.checkpoints) == [0]


def test_state_names_what_a_checkpoint_has(tmp_path):
    config = tiny_config()
    config.augment.mode = "adaptive"
    state = state_lib.create(config.validate(), 0)
    path = state.checkpoint().write(str(tmp_path / "ckpt"))
    names = tf.train.load_checkpoint(path).get_variable_to_shape_map()
    saved = [n for n in names if not n.startswith(("_CHECKPOINT", "save_counter"))]
    assert len(state.variables()) == len(saved) > 100
    assert {"g/", "d/", "augment/p", "pl_mean"} <= {
        name if name in ("augment/p", "pl_mean") else name[:2]
        for name in state.variables()
    }
