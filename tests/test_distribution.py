"""One run on one device, on two, in rounds, and by two worker processes is the same."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf
from test_resume import stats, variables

from tfstylegan import config as config_lib
from tfstylegan.data import sources
from tfstylegan.training import loop as loop_lib

ROOT = pathlib.Path(__file__).resolve().parents[1]
STEPS, BATCH = 20, 8

pytestmark = pytest.mark.slow
started = []  # processes


@pytest.fixture(autouse=True)
def _none_is_left():
    """Workers of a test that fails would wait for each other for an hour."""
    yield
    while started:
        process = started.pop()
        process.kill()
        process.wait()


def tiny_config():
    """Every regulariser, more often than usual; 20 steps."""
    config = config_lib.Config(seed=5)
    config.data.resolution, config.data.channels = 8, 1
    config.data.labels = config.data.mirror = True
    for network in (config.generator, config.discriminator):
        network.fmap_base, network.fmap_max = 32, 8
    config.generator.z_dim = config.generator.w_dim = 8
    config.generator.mapping_layers = 2
    config.discriminator.mbstd_group_size = 2
    config.loss.r2_gamma, config.loss.gp_lambda, config.loss.gp_drift = 1.0, 1.0, 0.001
    config.loss.r1_interval, config.loss.pl_interval = 4, 2
    config.augment.mode, config.augment.p = "adaptive", 0.3
    config.train.batch_size = BATCH
    config.train.tick_kimg = 4 * BATCH / 1000
    config.train.total_kimg = STEPS * BATCH / 1000
    config.train.checkpoint_ticks, config.train.image_ticks = 2, 100
    config.train.metrics, config.train.grid = (), (1, 2)
    return config.validate()


def light_config():
    """As `tiny_config`, with less to trace."""
    config = tiny_config()
    config.loss.r2_gamma = config.loss.gp_lambda = config.loss.gp_drift = 0.0
    config.augment.mode = "none"
    config.data.labels = False
    return config.validate()


def wait_for_tick(folder, process, tick):
    """Until a tick is reported: from here on the workers are inside the next one."""
    stats, deadline = folder / "run" / "stats.jsonl", time.monotonic() + 600
    while not stats.exists() or f'"tick": {tick},' not in stats.read_text():
        assert process.poll() is None, (folder / "errors0").read_text()[-3000:]
        assert time.monotonic() < deadline, f"no tick {tick}"
        time.sleep(0.002)


def start(folder, config, index=None, ports=(), program=("-m", "tfstylegan.train")):
    """The training command in a folder; as worker `index` where there are ports."""
    folder.mkdir(exist_ok=True)
    described = folder / "described"
    described.mkdir(exist_ok=True)
    (described / "config.json").write_text(config.to_json())
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    if ports:
        environment["TF_CONFIG"] = json.dumps(
            {
                "cluster": {"worker": [f"localhost:{port}" for port in ports]},
                "task": {"type": "worker", "index": index},
            }
        )
    command = [sys.executable, *program, f"--config={described}"]
    process = subprocess.Popen(
        [*command, f"--workdir={folder / 'run'}"],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=(folder / f"errors{index or 0}").open("ab"),
        env=environment,
    )
    started.append(process)
    return process


def free_ports():
    """Two ports that nothing listens on."""
    with socket.socket() as one, socket.socket() as other:
        for listener in (one, other):
            listener.bind(("localhost", 0))
        return one.getsockname()[1], other.getsockname()[1]


def end(folder, process, status=0):
    ended = process.wait(timeout=600)
    told = [file.read_text()[-2000:] for file in folder.glob("errors?")]
    assert ended == status, told


def differences(one, other):
    """{variable: largest difference, relative to its largest value}."""
    assert one.keys() == other.keys()
    found = {}
    for name, value in one.items():
        scale = np.max(np.abs(value)) or 1
        found[name] = np.max(np.abs(other[name] - value)) / scale
    return found


@pytest.fixture(scope="module")
def one_replica(tmp_path_factory):
    folder = tmp_path_factory.mktemp("one")
    end(folder, start(folder, tiny_config()))
    return folder / "run"


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory):
    folder, ports = tmp_path_factory.mktemp("workers"), free_ports()
    processes = [start(folder, tiny_config(), i, ports) for i in range(2)]
    for process in processes:
        end(folder, process)
    return folder / "run"


@pytest.fixture(scope="module")
def two_replicas(tmp_path_factory):
    """As the command, on the two logical devices of the tests."""
    folder, config = tmp_path_factory.mktemp("replicas"), tiny_config()
    source = sources.open_source("digits", height=8, width=8, channels=1, labels=True)
    strategy = tf.distribute.MirroredStrategy(
        ["CPU:0", "CPU:1"], cross_device_ops=tf.distribute.ReductionToOneDevice()
    )
    loop_lib.Loop(config, folder, source, strategy).run()
    return folder


def in_rounds(folder, most):
    config = tiny_config()
    config.train.max_batch_per_device = most
    end(folder, start(folder, config))
    return folder / "run"


@pytest.fixture(scope="module")
def rounds_of_4(tmp_path_factory):
    return in_rounds(tmp_path_factory.mktemp("rounds"), 4)


@pytest.fixture(scope="module")
def rounds_of_2(tmp_path_factory):
    """Rounds for the path length as well."""
    return in_rounds(tmp_path_factory.mktemp("rounds"), 2)


@pytest.mark.parametrize(
    "other", ["two_replicas", "two_workers", "rounds_of_4", "rounds_of_2"]
)
def test_equivalence_of_20_steps(other, one_replica, request):
    one, other = variables(one_replica), variables(request.getfixturevalue(other))
    assert int(one["step/.ATTRIBUTES/VARIABLE_VALUE"]) == STEPS
    found = differences(one, other)
    for name, difference in found.items():
        # Sums in another order; the averages, 1e-5 from 0 on, keep fewer digits.
        trained = name.startswith(("g/", "d/"))
        assert difference <= (1e-5 if trained else 1e-4), (name, difference)
    assert sum(name.startswith(("g/", "d/")) for name in found) > 40
    assert max(found.values()) > 0  # or it was the same run twice


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder, ports = tmp_path_factory.mktemp("undisturbed"), free_ports()
    processes = [start(folder, light_config(), i, ports) for i in range(2)]
    for process in processes:
        end(folder, process)
    return folder / "run"


@pytest.mark.parametrize("killed", [1, 0])
def test_killed_worker_comes_back_and_nothing_is_lost(killed, undisturbed, tmp_path):
    ports = free_ports()
    processes = [start(tmp_path, light_config(), i, ports) for i in range(2)]
    wait_for_tick(tmp_path, processes[0], 3)
    processes[killed].send_signal(signal.SIGKILL)
    assert processes[killed].wait() == -signal.SIGKILL
    processes[killed] = start(tmp_path, light_config(), killed, ports)
    for process in processes:
        end(tmp_path, process)
    told = (tmp_path / f"errors{1 - killed}").read_text()
    assert "a worker was lost" in told and "starting again" in told
    expected, actual = variables(undisturbed), variables(tmp_path / "run")
    assert expected.keys() == actual.keys()
    for name, value in expected.items():
        assert np.array_equal(value, actual[name]), name
    assert stats(undisturbed) == stats(tmp_path / "run")


@pytest.mark.parametrize("asked", [1, 0])
def test_signal_to_one_worker_stops_all_and_saves(asked, undisturbed, tmp_path):
    ports = free_ports()
    processes = [start(tmp_path, light_config(), i, ports) for i in range(2)]
    wait_for_tick(tmp_path, processes[0], 1)  # before any checkpoint
    processes[asked].send_signal(signal.SIGTERM)
    for process in processes:
        end(tmp_path, process, 128 + signal.SIGTERM)
    saved = variables(tmp_path / "run")["cur_nimg/.ATTRIBUTES/VARIABLE_VALUE"]
    assert 4 * BATCH <= saved < STEPS * BATCH
    processes = [start(tmp_path, light_config(), i, ports) for i in range(2)]
    for process in processes:
        end(tmp_path, process)
    expected, actual = variables(undisturbed), variables(tmp_path / "run")
    for name, value in expected.items():
        assert np.array_equal(value, actual[name]), name


# A weight of D turns to nan on the last worker, before a step that is not repeated.
POISONED = """
from tfstylegan import cli, train
from tfstylegan.training import loop

step = loop.Loop._step


def poisoned(self, batch):
    first = self.steps.config.seed == self.config.seed
    if self.step == 9 and first and self.workers.index == self.workers.count - 1:
        variable = self.state.d.trainable_variables[0].value
        (copy,) = self.strategy.experimental_local_results(variable)
        copy.assign(copy * float("nan"))
    return step(self, batch)


loop.Loop._step = poisoned
train._define_flags()
cli.run(train.main)
"""


def test_workers_go_back_together_to_the_run_of_one(tmp_path):
    config, program = light_config(), ("-c", POISONED)
    config.train.rollbacks = 1
    one, workers, ports = tmp_path / "one", tmp_path / "workers", free_ports()
    processes = [start(workers, config, i, ports, program) for i in range(2)]
    for process in processes:
        end(workers, process)
    end(one, start(one, config, program=program))
    for folder in (one, workers):
        text = (folder / "run" / "stats.jsonl").read_text()
        told = [json.loads(line) for line in text.splitlines()]
        ticks = [line for line in told if "tick" in line]
        assert [line["safety/rollbacks"] for line in ticks] == [0, 0, 1, 1, 1]
    found = differences(variables(one / "run"), variables(workers / "run"))
    assert max(found.values()) <= 1e-3, found  # rounding; other numbers: above 0.1


def test_workers_of_other_settings_are_told_apart(tmp_path):
    ports, other = free_ports(), light_config()
    other.seed = 6
    configs = [light_config(), other]
    processes = [start(tmp_path / str(i), c, i, ports) for i, c in enumerate(configs)]
    for i, process in enumerate(processes):
        assert process.wait(timeout=300) == 1
        told = (tmp_path / str(i) / f"errors{i}").read_text()
        assert "all workers must have the same configuration; worker 1" in told
    assert not (tmp_path / "1" / "run").exists()
