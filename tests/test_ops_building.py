"""ops.building: what the compiler is given, and the library's name."""

import pathlib
import shutil
import subprocess

import pytest
import tensorflow as tf
from test_ops_library import ROOT, WRITES_OUTPUT, fake_compiler

from tfstylegan.ops import building


def test_failed_build_shows_the_last_lines(tmp_path, monkeypatch):
    fake_compiler(
        tmp_path, "seq 100; echo fatal error: no luck >&2; exit 1", monkeypatch
    )
    folder = tmp_path / "cache"
    folder.mkdir()
    with pytest.raises(RuntimeError, match="failed:\n(.*\n)*100\nfatal error: no luck"):
        building.build(folder)
    assert list(folder.iterdir()) == []


def test_build_leaves_one_file(tmp_path, monkeypatch):
    body = WRITES_OUTPUT.format(calls=tmp_path / "calls")
    fake_compiler(tmp_path, body, monkeypatch)
    folder = tmp_path / "cache"
    folder.mkdir()
    path = building.build(folder)
    assert list(folder.iterdir()) == [path]
    assert path.read_text() == "library\n"


def test_library_name_depends_on_tensorflow(monkeypatch):
    path = building.prebuilt_path()
    monkeypatch.setattr(tf, "__version__", "0.0")
    assert building.prebuilt_path() != path


def test_library_of_the_cache_is_for_this_cpu(tmp_path, monkeypatch):
    """Machines with other CPUs that see the folder have a library of their own."""
    monkeypatch.setenv("TFSTYLEGAN_CACHE", str(tmp_path))
    prebuilt = building.prebuilt_path()
    paths = {}
    for level in (None, 0, 1, 2):
        monkeypatch.setattr(building, "cpu_level", lambda level=level: level)
        paths[level] = building.cached_path()
        assert paths[level].parent == tmp_path
    assert len(set(paths.values())) == 4
    assert paths[None].name == prebuilt.name


def test_cpu_level_is_that_of_the_compiler(tmp_path):
    """The library for all CPUs asks the CPU itself; it must find the same."""
    if building.cpu_level() is None:
        pytest.skip("no /proc/cpuinfo of x86-64")
    if shutil.which("g++") is None:
        pytest.skip("no g++ on the PATH")
    header = ROOT / "custom_ops" / "cpu_dispatch.h"
    source = f'#include "{header}"\nint main() {{ return tfstylegan::CpuLevel(); }}'
    program = tmp_path / "level"
    command = ["g++", "-x", "c++", "-", "-o", str(program)]
    subprocess.run(command, input=source, text=True, check=True)
    assert subprocess.run([program]).returncode == building.cpu_level()


@pytest.mark.parametrize(
    "flags, level",
    [
        ("fpu sse2 avx avx2 bmi1 fma", 1),
        ("fpu sse2 avx avx2 bmi1", 0),
        ("avx512f avx512bw avx512dq avx512vl avx2 fma", 2),
        ("avx512f avx512bw avx512dq avx2 fma", 1),
        ("", 0),
    ],
)
def test_cpu_level_of_others(flags, level, monkeypatch):
    text = f"processor\t: 0\nflags\t\t: {flags}\nvmx flags\t: fma\n"
    monkeypatch.setattr(building.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(pathlib.Path, "read_text", lambda _: text)
    assert building.cpu_level.__wrapped__() == level


def test_cpu_level_is_not_known_elsewhere(monkeypatch):
    monkeypatch.setattr(building.platform, "machine", lambda: "aarch64")
    assert building.cpu_level.__wrapped__() is None
