"""docs/configs.md: its table is what the presets say now."""

import importlib.util
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
TOOL = ROOT / "tools" / "configs_table.py"
PRESETS = sorted((ROOT / "configs").glob("*.py"))


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("configs_table", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_configs_page_holds_the_table_of_the_tool(tool):
    introduction, mark, table = tool.PAGE.read_text().partition(tool.MARK)
    assert introduction.startswith("# ") and mark
    assert table == tool.table(), "python tools/configs_table.py --write"


@pytest.mark.parametrize("file", PRESETS, ids=lambda file: file.stem)
def test_configs_table_has_a_row_of_every_preset(tool, file):
    (row,) = [line for line in tool.table().splitlines() if f"[`{file.stem}`]" in line]
    assert (tool.PAGE.parent / f"../configs/{file.name}").samefile(file)
    title, said = tool.label(file)
    assert list(said) == ["What", "Command", "Cost", "Expected"]
    assert all(said.values())
    assert title in row and said["Cost"] in row and said["Expected"] in row


def test_configs_table_reads_a_preset(tool):
    _, small = tool.table().split(f"## {tool.SMALL}\n")
    small, benchmarks = small.split(f"## {tool.BENCHMARKS}\n")
    assert "| modulated, skip | stylegan2, resnet | 32x32 |" in small
    assert "| adain, growing | stylegan, growing | 32x32, from 8 |" in small
    assert "[`yardstick32`]" in benchmarks and "[`digits32`]" not in benchmarks


def test_configs_table_prints_without_tensorflow(tool, tmp_path):
    command = [sys.executable, "-X", "importtime", str(TOOL)]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout == tool.table()
    imported = {line.split("|")[-1].strip() for line in result.stderr.splitlines()}
    assert "tfstylegan.config" in imported
    assert not imported & {"tensorflow", "keras"}


def test_configs_table_write_keeps_the_introduction(tool, tmp_path, monkeypatch):
    page = tmp_path / "configs.md"
    page.write_text("# Mine\n" + tool.MARK + "old\n")
    monkeypatch.setattr(tool, "PAGE", page)
    tool.write()
    assert page.read_text() == "# Mine\n" + tool.MARK + tool.table()
    tool.write()
    assert page.read_text() == "# Mine\n" + tool.MARK + tool.table()
