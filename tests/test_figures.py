"""The tools that draw: what they read and choose, and their pictures of a model."""

import json
import sys

import numpy as np
import PIL.Image
import pytest
from test_commands import ROOT, fails, run
from test_loop import tiny_config

from tfstylegan import cli, image_streams
from tfstylegan.metrics import ppl
from tfstylegan.networks import build, storage

sys.path.insert(0, str(ROOT / "tools"))
import figures
import plot_metrics
import ppl_gallery
import psi_curve


@pytest.mark.parametrize(
    "flags",
    [
        ["tools/plot_metrics.py", "--runs=x", "--outfile=out/y.png"],
        ["tools/ppl_gallery.py", "--model=x", "--outdir=out"],
        ["tools/psi_curve.py", "--model=x", "--outdir=out"],
    ],
)
def test_missing_matplotlib_is_told_first(tmp_path, flags):
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "matplotlib.py").write_text("raise ImportError('hidden by a test')")
    path = f"{hidden}:{ROOT}"
    result = run(str(ROOT / flags[0]), *flags[1:], cwd=tmp_path, PYTHONPATH=path)
    fails(result, "hidden by a test", "pip install 'tfstylegan[tools]'")
    assert not (tmp_path / "out").exists()


def stats(folder, lines):
    folder.mkdir(parents=True)
    text = "".join(json.dumps({"cur_nimg": 0, **line}) + "\n" for line in lines)
    (folder / "stats.jsonl").write_text(text)
    return folder


RUN = [
    {"kimg": 0.0, "metric/fid1k": 9.0, "metric/x": 1},
    {"tick": 0, "kimg": 2.0, "loss/g_main": 0.5, "ops": "reference/ops"},
    {"kimg": 2.0, "metric/fid1k": 4.0},
]


def test_scalars_of_a_run_are_read_by_name(tmp_path):
    told = plot_metrics.told(stats(tmp_path / "a", RUN))
    assert told == {
        "metric/fid1k": {0.0: 9.0, 2.0: 4.0},
        "metric/x": {0.0: 1},
        "loss/g_main": {2.0: 0.5},
    }
    with pytest.raises(ValueError, match="nowhere has no stats.jsonl"):
        plot_metrics.told(tmp_path / "nowhere")
    (tmp_path / "a" / "stats.jsonl").write_text('{"kimg": 1}\n[]\n')
    with pytest.raises(ValueError, match="stats.jsonl, line 2"):
        plot_metrics.told(tmp_path / "a")


def test_runs_are_called_by_their_folders(tmp_path):
    a, b, c = tmp_path / "x" / "a", tmp_path / "x" / "b", tmp_path / "y" / "a"
    assert plot_metrics.labels_of([a, b]) == {a: "a", b: "b"}
    assert plot_metrics.labels_of([a, c]) == {a: str(a), c: str(c)}


def test_metrics_are_drawn_over_training(tmp_path):
    pytest.importorskip("matplotlib")
    runs = stats(tmp_path / "a", RUN), stats(tmp_path / "b", RUN)
    flags = [f"--runs={runs[0]},{runs[1]}", f"--outfile={tmp_path}/new/f.png", "--log"]
    result = run("tools/plot_metrics.py", *flags)
    assert result.returncode == 0, result.stderr
    with PIL.Image.open(tmp_path / "new" / "f.png") as picture:
        width, height = picture.size
        assert width > 2 * height  # two panels
        assert len(np.unique(np.asarray(picture))) > 10
    assert len(list((tmp_path / "new").iterdir())) == 1
    wrong = run("tools/plot_metrics.py", *flags, "--scalars=fid1k,kid1k")
    fails(wrong, "metric/kid1k", "metric/fid1k")


def test_curves_are_the_values():
    pytest.importorskip("matplotlib")
    _, (axes, _) = figures.panels(2)
    lines = {"one": ([0, 1], [3, 4]), "two": ([0, 2], [5, 6])}
    figures.curves(axes, lines, x="kimg", title="fid")
    drawn = {x.get_label(): x.get_xydata().tolist() for x in axes.lines}
    assert drawn == {"one": [[0, 3], [1, 4]], "two": [[0, 5], [2, 6]]}
    assert axes.get_xlabel() == "kimg" and axes.get_title() == "fid"


def test_tenths_begin_at_the_extremes():
    lengths = np.random.permutation(200).astype(float)
    low, high = ppl_gallery.tenths(lengths, 4)
    assert list(lengths[low]) == [0, 6, 12, 19]
    assert list(lengths[high]) == [199, 193, 187, 180]
    low, high = ppl_gallery.tenths(lengths[:5], 64)
    assert (low, high) == (lengths[:5].argmin(), lengths[:5].argmax())


def test_psi_must_be_numbers():
    assert psi_curve.number("-0.5") == -0.5
    with pytest.raises(ValueError, match="--psi must be finite numbers; got 'a'"):
        psi_curve.number("a")
    with pytest.raises(ValueError, match="finite numbers; got .inf"):
        psi_curve.number("inf")


def test_table_has_a_row_for_each_psi():
    def result(low, high):
        values = {"pr1k3_precision": low, "pr1k3_recall": high}
        return [{"metric": "pr1k3", "values": values}]

    table = psi_curve.table({0.5: result(0.25, 0.75), 1.0: result(0.5, 1)})
    assert table.splitlines() == [
        "| psi | pr1k3_precision | pr1k3_recall |",
        "| ---: | ---: | ---: |",
        "| 0.5 | 0.25 | 0.75 |",
        "| 1 | 0.5 | 1 |",
    ]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model directory of untrained networks."""
    path, config = tmp_path_factory.mktemp("model") / "model", tiny_config()
    g, d = build.build_generator(config), build.build_discriminator(config)
    storage.save_networks(path, storage.Networks(G=g, D=d, G_ema=g, config=config))
    return path


@pytest.mark.slow
def test_gallery_of_path_lengths(model, tmp_path):
    pytest.importorskip("matplotlib")
    flags = [f"--model={model}", f"--outdir={tmp_path}/out", "--columns=2"]
    flags += ["--metric=discriminator_ppl2_wend_50", "--scale=1", "--nocaptions"]
    result = run("tools/ppl_gallery.py", *flags)
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout.splitlines()[-1])
    with np.load(tmp_path / "out" / "lengths.npz") as arrays:
        kept = dict(arrays)
    assert json.loads(str(kept["circumstances"])) == told
    assert told["value"] == ppl.mean_length(kept["lengths"]) > 0
    assert f"| {told['value']:.4g} |" in result.stdout and "| 50 |" in result.stdout
    # The first picture is that of the least length, made again as the help says.
    stream = image_streams.ImageSource(cli.load_model(model).G_ema)
    for name, i in (("lowest", "argmin"), ("highest", "argmax")):
        i = getattr(kept["lengths"], i)()
        ws = stream.mapping(kept["z"][i : i + 1])
        image = stream.synthesis(ws, kept["keys"][i])[0, ..., 0]
        expected = np.clip(np.rint(image * 127.5 + 127.5), 0, 255)
        with PIL.Image.open(tmp_path / "out" / f"{name}.png") as picture:
            assert picture.size == (16, 16)  # 4 of 8x8
            shown = np.asarray(picture)[:8, :8]
        assert np.abs(shown - expected).max() <= 1
    with PIL.Image.open(tmp_path / "out" / "histogram.png") as picture:
        assert picture.size[0] > 300
    flags[-1] = "--metric=ppl2_wfull_50"
    fails(run("tools/ppl_gallery.py", *flags), "ppl2_wfull_50", "ppl2_wend")


@pytest.mark.slow
def test_curve_over_psi(model, tmp_path):
    pytest.importorskip("matplotlib")
    flags = [f"--model={model}", f"--outdir={tmp_path}/out", "--psi=1,0.5"]
    names = ["discriminator_pr1k3", "pixels_fid60"]
    result = run("tools/psi_curve.py", *flags, f"--metrics={','.join(names)}")
    assert result.returncode == 0, result.stderr
    text = (tmp_path / "out" / "metrics.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    expected = [(psi, name) for psi in (0.5, 1.0) for name in names]
    assert [(x["truncation_psi"], x["metric"]) for x in lines] == expected
    assert lines[1]["value"] != lines[3]["value"]
    rows = result.stdout.splitlines()
    assert len(rows) == 4 and rows[2].startswith("| 0.5 | ")
    assert f" {lines[1]['value']:.4g} |" in rows[2]
    with PIL.Image.open(tmp_path / "out" / "curves.png") as picture:
        assert picture.size[0] > 2 * picture.size[1]
    unknown = run("tools/psi_curve.py", *flags, "--metrics=fid50", "--nodownload")
    fails(unknown, "fid50", "inception")
