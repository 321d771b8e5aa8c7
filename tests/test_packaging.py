"""The installed package: complete, light to import, pinned."""

import ast
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile

import pytest
from packaging import requirements, version

ROOT = pathlib.Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SOURCES = [
    *("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"),
    *("tfstylegan", "custom_ops", "configs"),
]


def run(*command, cwd):
    result = subprocess.run(command, cwd=cwd, text=True, capture_output=True)
    assert result.returncode == 0, result.stdout + result.stderr


def build_wheel(source, into):
    """The wheel's file names. Built offline, with the setuptools of the tests."""
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-index"]
    options = ["--no-build-isolation", "--no-deps", "--wheel-dir", str(into)]
    run(*pip, *options, str(source), cwd=into.parent)
    (wheel,) = into.glob("*.whl")
    return wheel.name, set(zipfile.ZipFile(wheel).namelist())


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """(wheel of a checkout, wheel of the sdist of that checkout)."""
    tmp = tmp_path_factory.mktemp("packages")
    checkout = tmp / "checkout"  # A copy: building leaves files in the source folder.
    checkout.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            ignore = shutil.ignore_patterns("__pycache__", "*.so")
            shutil.copytree(ROOT / name, checkout / name, ignore=ignore)
        else:
            shutil.copy(ROOT / name, checkout)
    sdist = "from setuptools import build_meta; build_meta.build_sdist('../sdist')"
    (tmp / "sdist").mkdir()
    run(sys.executable, "-c", sdist, cwd=checkout)
    (archive,) = (tmp / "sdist").glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        opened.extractall(tmp / "unpacked", filter="data")
    (unpacked,) = (tmp / "unpacked").iterdir()
    wheels = []
    for source in (checkout, unpacked):
        into = tmp / f"wheel_of_{source.name}"
        into.mkdir()
        wheels.append(build_wheel(source, into))
    return wheels


def declared_version():
    tree = ast.parse((ROOT / "tfstylegan/__init__.py").read_text())
    (value,) = [
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and node.targets[0].id == "__version__"
    ]
    return ast.literal_eval(value)  # Fails if it is computed: then a build imports it.


def test_packaging_version_is_a_literal():
    assert re.fullmatch(r"\d+\.\d+\.\d+", declared_version())
    assert PROJECT["dynamic"] == ["version"]


@pytest.mark.parametrize("which", [0, 1], ids=["checkout", "sdist"])
def test_packaging_wheel_carries_code_ops_and_configs(packages, which):
    name, names = packages[which]
    assert name == f"tfstylegan-{declared_version()}-py3-none-any.whl"
    assert "tfstylegan/custom_ops/upfirdn2d.cc" in names
    assert "tfstylegan/configs/digits32.py" in names
    expected = {
        path.relative_to(ROOT).as_posix() for path in ROOT.glob("tfstylegan/**/*.py")
    }
    for pattern in ("custom_ops/*.h", "custom_ops/*.cc", "configs/*.py"):
        expected |= {f"tfstylegan/{p.parent.name}/{p.name}" for p in ROOT.glob(pattern)}
    assert expected <= names
    strangers = {n for n in names - expected if ".dist-info/" not in n}
    assert strangers <= {"tfstylegan/custom_ops/README.md"}


def test_packaging_wheel_carries_the_licence(packages):
    for _, names in packages:
        assert any(name.endswith("licenses/LICENSE") for name in names)


def imported(arguments):
    """(output, modules that running Python with these arguments imported)."""
    result = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments],
        cwd=ROOT,
        text=True,
        capture_output=True,
        timeout=120,
    )
    modules = set(re.findall(r"^import time:.*\|\s+(\S+)$", result.stderr, re.M))
    errors = re.sub(r"^import time:.*\n", "", result.stderr, flags=re.M)
    return result.stdout + errors, modules


def test_packaging_importing_the_package_loads_nothing_heavy():
    output, modules = imported(["-c", "import tfstylegan; tfstylegan.load_networks"])
    assert output == ""
    assert "tfstylegan" in modules
    assert not modules & {"tensorflow", "keras", "numpy", "ml_collections"}


def test_packaging_config_loads_no_tensorflow():
    output, modules = imported(["-c", "import tfstylegan.config"])
    assert output == ""
    assert "tfstylegan.config" in modules
    assert not modules & {"tensorflow", "keras"}


@pytest.mark.parametrize(
    ("entry", "flag"),
    [
        ("train", "--workdir"),
        ("evaluate", "--metrics"),
        ("generate", "--seeds"),
        ("export", "--outdir"),
    ],
)
def test_packaging_help_is_shown_without_tensorflow(entry, flag):
    output, modules = imported(["-m", f"tfstylegan.{entry}", "--helpshort"])
    assert flag in output
    assert "Traceback" not in output
    assert "absl" in modules
    assert not modules & {"tensorflow", "keras"}


def test_packaging_constraints_pin_every_dependency_within_its_range():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if line and line[0] != "#")
    pinned = {name.lower().replace("_", "-"): pin for name, pin in pins.items()}
    wanted = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["test"]
    for line in wanted:
        wish = requirements.Requirement(line)
        assert version.Version(pinned[wish.name]) in wish.specifier, line
