"""Hostile pickles: refused in words, in bounded time and memory, without running."""

import io
import pathlib
import pickle
import re
import subprocess
import sys

import hostile_code
import hostile_pickles
import pickle_pieces as p
import pytest

from tfstylegan.interop import nvidia_pickle

FUZZ = pathlib.Path(__file__).with_name("fuzz_nvidia_pickle.py")
NAMES = [name for name, _, _ in hostile_pickles.hostile("canary")]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """{name: (words, kind, message, seconds)} of a process short of memory."""
    folder = tmp_path_factory.mktemp("hostile")
    found = {name: rest for name, *rest in hostile_pickles.run(folder / "canary")}
    assert not list(folder.iterdir())
    return found


@pytest.mark.parametrize("name", NAMES)
def test_hostile_pickle_is_refused_in_words(outcomes, name):
    words, kind, message, seconds = outcomes[name]
    assert (kind, len(message.splitlines())) == ("refused", 1), message
    assert re.search(words, message), message
    assert message.isprintable() and len(message) < 300
    assert seconds < hostile_pickles.SECONDS


def test_hostile_pickles_have_names_of_their_own():
    assert len(NAMES) == len(set(NAMES)) > 300


@pytest.mark.parametrize("nested", [False, True])
def test_hostile_canary_sings_where_a_pickle_runs(tmp_path, nested):
    canary = tmp_path / "canary"
    data = p.file([hostile_code.shell(canary)] if nested else {})
    pickle.loads(data)
    assert canary.exists() == nested
    with pytest.raises(nvidia_pickle.PickleError):
        nvidia_pickle.read(io.BytesIO(data))


@pytest.mark.parametrize(
    ("code", "words"),
    [("\n while True: pass", "TooSlow"), ("bytearray(600 << 20)", "MemoryError")],
)
def test_hostile_guard_stops(code, words):
    program = f"import hostile_pickles as h\nh.guard()\ndef read(_): {code}\n"
    program += "h.SECONDS = 0.1\nprint(h.outcome(b'', read))"
    paths = [str(FUZZ.parent), str(FUZZ.parents[1])]
    command = f"import sys\nsys.path[:0] = {paths}\n{program}"
    done = subprocess.run([sys.executable, "-c", command], capture_output=True)
    assert words in done.stdout.decode(), done.stderr.decode()


def test_hostile_names_in_a_state_are_data():
    """The object that they would change does not look at them."""
    names = ["__class__", "__dict__", "__setstate__", "__reduce__", "set_state"]
    data = p.tensorflow(**dict.fromkeys(names, "os.system"))
    record = nvidia_pickle.read(io.BytesIO(data)).networks["G"]
    assert type(record) is nvidia_pickle.NetworkRecord
    assert record.attributes == {"name": "G"} | dict.fromkeys(names, "os.system")


def test_hostile_entries_that_nobody_reads_are_dropped():
    deep = p.Code(b")" + b"\x85" * 10_000)
    data = p.file({"G": p.module(), "augment_pipe": deep})
    assert list(nvidia_pickle.read(io.BytesIO(data)).networks) == ["G"]


def fuzz(*options):
    command = [sys.executable, str(FUZZ), *options]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


def test_hostile_mutations_are_refused_or_read():
    assert "1500 mutations" in fuzz("--cases=1500", "--seed=1")


@pytest.mark.slow
def test_hostile_mutations_at_length():
    assert "100000 mutations" in fuzz("--cases=100000", "--seed=2")
