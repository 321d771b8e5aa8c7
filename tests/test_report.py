"""What a run tells where its disk is full: less, and training goes on."""

import contextlib
import json
import resource
import signal

import numpy as np
import pytest
import tensorflow as tf
from test_loop import lines, tiny_config

from tfstylegan.training import measured
from tfstylegan.training import report as report_lib


@contextlib.contextmanager
def full_disk(size):
    """No file grows beyond so many bytes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)


@pytest.fixture
def report(tmp_path):
    with report_lib.Report(tmp_path, tiny_config(), 0, {"ops": "x"}) as made:
        yield made


def told_by_tensorboard(workdir):
    """{(tag, step)} of all files, each of them read to its end."""
    return {
        (value.tag, event.step)
        for file in (workdir / "tensorboard").glob("events*")
        for event in tf.compat.v1.train.summary_iterator(str(file))
        for value in event.summary.value
    }


def test_a_line_is_added_whole_or_not_at_all(tmp_path):
    file = tmp_path / "lines"
    measured.append(file, {"a": 1})
    before = file.read_bytes()
    with full_disk(len(before) + 4), pytest.raises(OSError, match="space|large"):
        measured.append(file, {"b": 2})
    assert file.read_bytes() == before
    measured.append(file, {"b": 2})
    assert file.read_text() == '{"a": 1}\n{"b": 2}\n'


def test_what_does_not_fit_is_left_out_and_told(report, tmp_path, capsys):
    size = 1 << 20  # what is captured here needs a little
    noise = np.random.randint(0, 256, [1, 1200, 1200, 1]).astype(np.uint8)
    result = {"metric": "pixel_frechet", "values": {"pixel_frechet": 1.0}}
    report.tick(1, 8, {"a": 1.0}, {"h": np.ones(3)})
    report.picture("fakes", noise, 1, 8)  # now TensorBoard's file is full
    with full_disk(size):
        report.tick(2, 16, {"a": 2.0}, {"h": np.ones(3)})
        for file in (report.stats_file, tmp_path / "metrics.jsonl"):
            with full_disk(2 * size), file.open("a") as stream:
                stream.write(json.dumps({"cur_nimg": 16, "long": "x" * size}) + "\n")
        report.tick(3, 24, {"a": 3.0}, {"h": np.ones(3)})
        report.picture("fakes", noise, 1, 24)
        report.metrics(result, 24)
        report.scalars({"b": 1.0}, 24)
    told = capsys.readouterr().out
    assert told.count("warning: not reported: ") == 6
    assert told.count("; training goes on") == 6
    report.tick(4, 32, {"a": 4.0}, {"h": np.ones(3)})
    report.picture("fakes", noise, 1, 32)
    report.metrics(result, 32)
    report.writer.flush()
    assert [line["tick"] for line in lines(tmp_path, "tick")] == [1, 2, 4]
    _, line = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert json.loads(line)["cur_nimg"] == 32
    assert not list(tmp_path.rglob(".*"))  # no file that is half written
    seen = told_by_tensorboard(tmp_path)
    names = ("a", "h", "fakes", "metric/pixel_frechet")
    assert {("a", 8), ("fakes", 8), *((name, 32) for name in names)} <= seen


def test_a_log_that_cannot_be_written_does_not_end_training(report, monkeypatch):
    class Full:
        def write(self, text):
            raise OSError(28, "No space left on device")

        flush = write

    monkeypatch.setattr(report_lib.sys, "stdout", Full())
    report.progress.fp = Full()
    report.say("something")
    report.advance(4)
    report.tick(1, 8, {"a": 1.0}, {})
    assert report.lines()[0]["tick"] == 1
