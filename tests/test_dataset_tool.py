"""The command that makes data sets, run as its users run it: also killed, also full."""

import fcntl
import json
import os
import pathlib
import resource
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image
from test_commands import ROOT, contents, fails, run

from tfstylegan.data.tfrecords import records

TOOL = "tools/dataset_tool.py"


def tool(*arguments, **options):
    return run(str(ROOT / TOOL), *arguments, **options)


def good(*arguments, **options):
    result = tool(*arguments, **options)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """200 images, two classes, names with spaces and letters of other languages."""
    folder = tmp_path_factory.mktemp("source") / "meine Fotos"
    for i in range(200):
        file = folder / ("Füchse" if i % 4 else "犬") / f"bild {i:03}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(i).integers(0, 256, [6, 8, 3]).astype(np.uint8)
        Image.fromarray(pixels).resize((48, 36)).save(file)
    return folder


def test_from_files_to_a_data_set_and_back(tmp_path, photos):
    made, back = tmp_path / "Satz ä", tmp_path / "zurück"
    one = "--workers=1"
    create = ["create", f"--source={photos}", f"--outdir={made}", "--shuffle_seed=1"]
    told = good(*create, one)
    assert "200 images 36x48x3" in told and "1 shards" in told
    assert "--config.data.resolution=36 --config.data.base_grid=9,12" in told
    assert "--config.data.labels=true" in told
    told = good("info", made, "--verify")
    assert "36x48" in told and "2 classes of 50 to 150 images" in told
    assert "(verified)" in told and "shuffled by seed 1" in told
    good("extract", f"--source={made}", f"--outdir={back}", one)
    names = {str(x.relative_to(photos)) for x in photos.rglob("*.png")}
    assert contents(back).keys() == names | {"dataset.json"}
    labels = dict(json.loads((back / "dataset.json").read_text())["labels"])
    assert labels == {name: int(name.startswith("犬")) for name in names}
    for name in names:
        assert (back / name).read_bytes() == (photos / name).read_bytes()
    good("compare", photos, back, one)
    assert {path.name for path in tmp_path.iterdir()} == {made.name, back.name}


def test_compare_tells_the_first_differences(tmp_path, photos):
    other = tmp_path / "other"
    for file in photos.rglob("*.png"):
        (other / file.relative_to(photos)).parent.mkdir(parents=True, exist_ok=True)
        (other / file.relative_to(photos)).write_bytes(file.read_bytes())
    image = Image.open(other / "犬/bild 004.png")
    image.putpixel((3, 4), (0, 0, 0))
    image.save(other / "犬/bild 004.png")
    (other / "Füchse/bild 001.png").rename(other / "Füchse/neu.png")
    image.resize((24, 18)).save(other / "犬/bild 000.png")
    (other / "犬/bild 008.png").write_bytes(b"no image")
    result = tool("compare", photos, other)
    assert result.returncode == 1
    assert sorted(result.stdout.splitlines()) == sorted(
        [
            "Füchse/bild 001: only in S1",
            "Füchse/neu: only in S2",
            "犬/bild 000.png: 36x48 and 18x24",
            f"犬/bild 004.png: 1 pixels differ, by up to {_most(photos)}",
            "犬/bild 008.png: cannot be read in S2: not a PNG/JPEG/WEBP/BMP/GIF image",
        ]
    )


def _most(photos):
    return max(Image.open(photos / "犬/bild 004.png").getpixel((3, 4)))


def test_wrong_commands_and_flags(tmp_path):
    assert "create --source=S" in good()
    fails(tool("make"), "one of create, info, check, extract, compare", "'make'")
    fails(tool("info"), "'info D'")
    fails(tool("create", "--strict", "--outdir=x"), "strict")
    wrong = tool("create", f"--source={tmp_path / 'no'}", f"--outdir={tmp_path / 'd'}")
    fails(wrong, tmp_path / "no", "does not exist")
    wrong = ["create", "--source=digits", f"--outdir={tmp_path / 'd'}"]
    fails(tool(*wrong, "--size=33x32"), "33x32", "34x32")
    assert not contents(tmp_path)


def test_labels_of_a_file(tmp_path, photos):
    options = ["create", f"--source={photos}", "--max_images=3", "--workers=1"]
    classes = np.arange(200) % 5
    np.save(tmp_path / "classes.npy", classes)
    good(*options, f"--outdir={tmp_path / 'a'}", f"--labels={tmp_path / 'classes.npy'}")
    dataset = records.open_collection(tmp_path / "a")
    np.testing.assert_array_equal(dataset.labels, np.eye(5)[[0, 1, 2]])
    good(*options, f"--outdir={tmp_path / 'b'}", "--labels=none")
    assert records.open_collection(tmp_path / "b").labels.shape == (3, 0)
    (tmp_path / "few.json").write_text('{"labels": [["Füchse/bild 001.png", 3]]}')
    few = tool(
        *options, f"--outdir={tmp_path / 'c'}", f"--labels={tmp_path / 'few.json'}"
    )
    fails(few, "no label for 199 of 200 images", "Füchse/bild 002.png")
    assert not (tmp_path / "c").exists()


def test_tensorflow_stays_out(tmp_path, photos):
    """In a process of its own: this one has it already."""
    program = (
        "import runpy, sys; sys.argv = sys.argv[1:]; sys.path.insert(0, 'tools')\n"
        "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "heavy = {'tensorflow', 'keras', 'sklearn', 'scipy'} & sys.modules.keys()\n"
        "assert not heavy, heavy"
    )
    tool_ = str(ROOT / TOOL)
    write = [
        "create",
        f"--source={photos}",
        f"--outdir={tmp_path / 'd'}",
        "--workers=1",
    ]
    for command in (write, ["check", str(tmp_path / "d")]):
        result = subprocess.run(
            [sys.executable, "-c", program, tool_, *command],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        assert result.returncode == 0, result.stderr


# Killed, and out of room.


def create(photos, outdir, *options):
    flags = [f"--source={photos}", f"--outdir={outdir}", "--size=32", "--shards=20"]
    return [sys.executable, str(ROOT / TOOL), "create", *flags, *options]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, photos):
    """(contents of the data set, seconds that it took)."""
    outdir = tmp_path_factory.mktemp("undisturbed") / "d"
    begin = time.monotonic()
    command = create(photos, outdir, "--workers=2")
    subprocess.run(command, check=True, capture_output=True)
    return contents(outdir), time.monotonic() - begin


@pytest.mark.parametrize(
    "times", [3, pytest.param(20, marks=pytest.mark.slow)], ids=str
)
def test_killed_at_random_moments(tmp_path, photos, undisturbed, times):
    expected, seconds = undisturbed
    outdir = tmp_path / "d"
    moments = np.random.default_rng(times).uniform(0.2, 1, [times]) * seconds
    command = create(photos, outdir, "--workers=2")
    for moment in moments:
        process = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            process.wait(moment)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        _wait_for_the_workers(process.pid)
        assert {path.name for path in tmp_path.iterdir()} <= {"d", ".d.partial"}
        if outdir.exists():
            assert contents(outdir) == expected
            records.verify(outdir)
            outdir.rename(tmp_path.with_name(f"{tmp_path.name} {moment}"))
    subprocess.run(command, check=True, capture_output=True)
    assert contents(tmp_path) == {f"d/{name}": x for name, x in expected.items()}


def _wait_for_the_workers(session):
    """None of the killed process' own processes outlives it by more than seconds."""
    for _ in range(100):
        if not _processes(session):
            return
        time.sleep(0.1)
    raise AssertionError(f"still there: {_processes(session)}")


def _processes(session):
    found = []
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # ended in the meantime
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(stat.parent.name)
    return found


def test_no_room_left(tmp_path, photos, undisturbed):
    outdir = tmp_path / "d"
    most = 100_000  # bytes a file may have; one shard would have more

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    command = create(photos, outdir, "--workers=1")
    command[command.index("--shards=20")] = "--shards=2"
    full = subprocess.run(command, preexec_fn=limit, capture_output=True, text=True)
    fails(full, outdir, "File too large", "the same command goes on from there")
    assert not contents(tmp_path)
    command[command.index("--shards=2")] = "--shards=20"
    subprocess.run(command, check=True, capture_output=True)
    assert contents(outdir) == undisturbed[0]


def test_interrupted(tmp_path, photos, undisturbed):
    process = subprocess.Popen(
        create(photos, tmp_path / "d", "--workers=2"),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    time.sleep(undisturbed[1] * 0.6)
    os.killpg(process.pid, 2)  # what Ctrl-C does
    _, told = process.communicate(timeout=120)
    if process.returncode:  # else it was faster
        assert "Traceback" not in told and "error: interrupted" in told
        assert not (tmp_path / "d").exists()


def test_two_at_once(tmp_path, photos):
    (tmp_path / ".d.partial").mkdir()
    lock = os.open(tmp_path / ".d.partial", os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        command = create(photos, tmp_path / "d", "--workers=1")
        second = subprocess.run(command, capture_output=True, text=True)
    finally:
        os.close(lock)
    fails(second, "another process is writing", tmp_path / "d")
