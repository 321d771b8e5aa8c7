"""Figures: mixing, noise, truncation and paths between codes, and their tools."""

import json

import latent_models
import numpy as np
import PIL.Image
import pytest
import tool_runs
from test_commands import contents, fails

from tfstylegan import sampling
from tfstylegan.latents import codes as codes_lib
from tfstylegan.latents import interpolation, mixing, noise, rendering

BLOCKS = ("modulated", "adain")
BARE = ("--scale=1", "--nocaptions")


@pytest.fixture(scope="module", params=BLOCKS)
def render(request):
    return rendering.Renderer(latent_models.small_generator(request.param))


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A folder with a model directory for each block."""
    folder = tmp_path_factory.mktemp("models")
    for block in BLOCKS:
        latent_models.small_model(folder / block, block=block)
    return folder


@pytest.fixture
def model(request, models):
    """That of the block that a test names, by default StyleGAN2's."""
    return models / getattr(request, "param", "modulated")


def mixed(render, rows, columns, layers):
    images = mixing.grid(render, rows, columns, layers)
    return images.reshape(1 + len(rows), 1 + len(columns), *images.shape[1:])


def test_mixing_over_no_layers_or_with_itself_is_the_image(render):
    """Bit for bit, which needs equal batches."""
    g = render.generator
    rows, columns = (codes_lib.of_seeds(g, s, psi=0.7) for s in ([1, 2], [3, 4, 5]))
    num_ws = g.mapping.num_ws
    original = render.codes(rows)
    for i in range(2):
        for cell in mixed(render, rows, columns, ())[1 + i]:
            np.testing.assert_array_equal(cell, original[i])
        for layers in ((), (0, 1), range(num_ws)):
            itself = mixed(render, rows, rows[i : i + 1], layers)
            np.testing.assert_array_equal(itself[1 + i, 1], original[i])
    everything = mixed(render, rows, columns, range(num_ws))
    np.testing.assert_array_equal(everything[1, 1:], render.codes(columns))
    assert np.all(everything[0, 0] == -1)


def test_mixing_takes_layers_from_columns_and_noise_from_rows(render):
    g = render.generator
    rows, columns = (codes_lib.of_seeds(g, s) for s in ([1], [2]))
    rows.noise = [0.5 * x for x in render.fixed_noise]
    ws = rows.ws.copy()
    ws[:, [1, 3]] = columns.ws[:, [1, 3]]
    expected = g.synthesis(ws, noise=rows.noise)[0]
    cell = mixed(render, rows, columns, (1, 3))[1, 1]
    np.testing.assert_allclose(cell, expected, rtol=1e-4, atol=1e-5)
    own = g.synthesis(columns.ws, noise_mode="const")[0]
    head = mixed(render, rows, columns, (1, 3))[0, 1]
    np.testing.assert_allclose(head, own, rtol=1e-4, atol=1e-5)


def test_noise_realisations_are_functions_of_seed_and_number(render):
    g = render.generator
    first = noise.realisation(g, 3, seed=1)
    assert [x.shape for x in first] == [(1, *s, 1) for s in g.synthesis.noise_sizes]
    np.testing.assert_array_equal(first[2], noise.realisation(g, 3, seed=1)[2])
    for other in (noise.realisation(g, 4, seed=1), noise.realisation(g, 3, seed=2)):
        assert np.all(first[2] != other[2])
    assert noise.only(["a", "b", "c"], (0, 2)) == ["a", None, "c"]


def test_oracle_deviation_is_that_of_grey_images():
    images = np.random.randn(20, 3, 4, 2).astype("f4") + 1000  # nothing cancels
    expected = images.astype(np.float64).mean(axis=3).std(axis=0)
    found = noise.deviation(iter(images))
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert np.all(noise.deviation([images[0]] * 5) == 0)
    with pytest.raises(ValueError, match="at least one"):
        noise.deviation([])


def test_liveliest_box_has_the_largest_sum():
    values = np.random.rand(9, 7)
    sums = {
        (top, left): values[top : top + 3, left : left + 2].sum()
        for top in range(7)
        for left in range(6)
    }
    assert noise.liveliest_box(values, 3, 2) == max(sums, key=sums.get)
    assert noise.liveliest_box(values, 9, 7) == (0, 0)


@pytest.mark.parametrize("loop", [True, False])
@pytest.mark.parametrize("curve", interpolation.CURVES)
def test_paths_go_through_their_keys(curve, loop):
    keys = np.random.randn(5, 8).astype("f4") * np.linspace(1, 3, 5)[:, None]
    points = interpolation.path(curve, keys, 6, loop=loop)
    assert len(points) == (30 if loop else 25)
    np.testing.assert_allclose(points[::6], keys, rtol=1e-5, atol=1e-5)
    if loop:  # a step from the last point comes to the first
        turned = interpolation.path(curve, np.roll(keys, -2, axis=0), 6, loop=True)
        expected = np.roll(points, -12, axis=0)
        np.testing.assert_allclose(turned, expected, rtol=1e-4, atol=1e-5)


def test_spherical_paths_are_arcs_of_even_speed_and_length():
    a, b = np.array([[3.0, 0, 0], [0, 1.0, 0]])
    points = interpolation.spherical([a, b], 4, loop=False)
    angles = np.arctan2(points[:, 1], points[:, 0])
    np.testing.assert_allclose(angles, np.linspace(0, np.pi / 2, 5), atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), [3, 2.5, 2, 1.5, 1])


def test_linear_paths_are_lines_and_cubic_ones_do_not_bend():
    keys = np.random.randn(4, 3, 2)
    line = interpolation.linear(keys, 10, loop=False)
    np.testing.assert_allclose(line[13], keys[1] + 0.3 * (keys[2] - keys[1]))
    curve = interpolation.cubic(keys, 100, loop=True)
    closed = np.concatenate([curve, curve[:3]])
    speed = np.diff(closed, axis=0)
    jumps = np.abs(np.diff(speed, axis=0)).max()
    sharp = np.abs(np.diff(interpolation.linear(keys, 100), n=2, axis=0)).max()
    assert jumps < sharp / 10
    parabola = np.arange(4.0)[:, None] ** 2  # a spline through one is one
    points = interpolation.cubic(parabola, 5, loop=False)
    np.testing.assert_allclose(points[:, 0], (np.arange(16) / 5) ** 2, atol=1e-9)


@pytest.mark.parametrize("keys, frames, words", [(1, 3, "2 keys"), (2, 0, "frames")])
def test_paths_need_keys_and_frames(keys, frames, words):
    with pytest.raises(ValueError, match=words):
        interpolation.linear(np.zeros([keys, 2]), frames)


def tool(name, model, outdir, *flags):
    place = (f"--model={model}", f"--outdir={outdir}")
    bare = () if name in ("interpolate", "resolution_usage") else BARE
    return tool_runs.succeeds(name, *place, *bare, *flags)


def cells(path, columns, rows):
    picture = np.asarray(PIL.Image.open(path))
    height, width = picture.shape[0] // rows, picture.shape[1] // columns
    shape = [rows, height, columns, width, *picture.shape[2:]]
    return np.moveaxis(picture.reshape(shape), 2, 1)


def rendered(model, seeds, **options):
    import tfstylegan

    g = tfstylegan.load_networks(model).G_ema
    codes = codes_lib.of_seeds(g, seeds, **options)
    return sampling.to_uint8(rendering.Renderer(g).codes(codes))[..., 0]


@pytest.mark.parametrize("model", BLOCKS, indirect=True)
def test_tool_style_mixing(model, tmp_path):
    seeds = ("--row_seeds=1,2", "--col_seeds=2,3,4", "--truncation_psi=0.5")
    ranges = ("--layers=none", "--layers=0-1,3", "--layers=all")
    tool("style_mixing", model, tmp_path, *seeds, *ranges)
    names = [f"style_mixing_{x}.png" for x in ("0-1,3", "0-5", "none")]
    assert sorted(contents(tmp_path)) == names
    half, everything, nothing = (cells(tmp_path / name, 4, 3) for name in names)
    images = rendered(model, [1, 2, 3, 4], psi=0.5)
    np.testing.assert_array_equal(nothing[1:, 1:], images[:2, None].repeat(3, 1))
    np.testing.assert_array_equal(everything[1, 1:], images[1:])
    np.testing.assert_array_equal(half[2, 1], images[1])  # a code with itself
    assert np.any(half[1, 1] != images[0]) and np.any(half[1, 1] != images[1])


def test_tool_truncation_sweep(model, tmp_path):
    tool("truncation_sweep", model, tmp_path, "--seeds=5,6", "--psis=1,0,-0.5")
    found = cells(tmp_path / "truncation_sweep.png", 3, 2)
    for column, psi in enumerate((1, 0, -0.5)):
        np.testing.assert_array_equal(
            found[:, column], rendered(model, [5, 6], psi=psi)
        )
    np.testing.assert_array_equal(found[0, 1], found[1, 1])  # the mean


@pytest.mark.parametrize("model", ["adain"], indirect=True)
def test_tool_noise_figures(model, tmp_path):
    flags = ("--seeds=5,6", "--realisations=6", "--crop=4,8,12,12")
    ranges = ("--layers=all", "--layers=none", "--layers=coarse")
    output = tool("noise_figures", model, tmp_path, *flags, *ranges)
    layers = cells(tmp_path / "noise_layers.png", 3, 2)
    np.testing.assert_array_equal(layers[:, 0], rendered(model, [5, 6]))
    assert len({x.tobytes() for x in layers[0]}) == 3
    found = cells(tmp_path / "noise_realisations.png", 6, 2)
    np.testing.assert_array_equal(found[:, 0], rendered(model, [5, 6]))
    parts = found[0, 1:5]  # 8x4 pixels, twice as large
    assert len({x.tobytes() for x in parts}) == 4
    np.testing.assert_array_equal(parts[:, :8:2], parts[:, 1:8:2])
    assert np.all(parts[:, 8:] == 0)
    assert found[0, 5].max() > 0 and "seed0005: deviation" in output


def test_tool_interpolate(model, tmp_path):
    imageio = pytest.importorskip("imageio.v2")
    pytest.importorskip("imageio_ffmpeg")
    flags = ("--seeds=1-4", "--frames=3", "--grid=2x1", "--format=mp4,gif", "--fps=10")
    tool("interpolate", model, tmp_path, *flags, "--scale=2", "--curve=linear")
    assert sorted(contents(tmp_path)) == ["interpolation.gif", "interpolation.mp4"]
    images = rendered(model, [1, 2, 3, 4]).repeat(2, axis=1).repeat(2, axis=2)
    for ending, close in (("mp4", 40), ("gif", 3)):  # H.264 and 256 colours lose some
        frames = imageio.mimread(tmp_path / f"interpolation.{ending}")
        assert len(frames) == 6 and frames[0].shape[:2] == (32, 64)
        for number, row in ((0, [0, 2]), (3, [1, 3])):
            expected = np.concatenate(images[row], axis=1).astype(float)
            grey = np.asarray(frames[number], float)
            grey = grey[..., 0] if grey.ndim == 3 else grey
            assert np.abs(grey - expected).mean() < close, ending


def test_tool_interpolate_in_z(model, tmp_path):
    pytest.importorskip("imageio.v2")
    flags = ("--seeds=1-3", "--frames=2", "--format=gif", "--curve=spherical")
    tool("interpolate", model, tmp_path, *flags, "--noloop", "--truncation_psi=0.5")
    assert PIL.Image.open(tmp_path / "interpolation.gif").n_frames == 5


def test_tool_resolution_usage(tmp_path):
    pytest.importorskip("matplotlib")
    folder = tmp_path / "model"
    latent_models.small_model(folder)
    told = {f"usage/resolution_{side}": part for side, part in ((4, 0.5), (8, 0.25))}
    lines = [{"cur_nimg": -5000, "usage/resolution_16": 0.25} | told, {"cur_nimg": 1}]
    (folder / "stats.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
    tool("resolution_usage", folder, tmp_path / "out", "--images=16")
    found = json.loads((tmp_path / "out" / "resolution_usage.json").read_text())
    assert found["kimg"] == [-5, 0]
    now = [parts[1] for parts in found["parts"].values()]
    assert sum(now) == pytest.approx(1) and min(now) > 0
    assert found["parts"]["4"][0] == 0.5
    assert PIL.Image.open(tmp_path / "out" / "resolution_usage.png").size == (624, 432)


@pytest.mark.parametrize(
    ("name", "flags", "words"),
    [
        ("style_mixing", ["--layers=fine"], ["--layers=fine", "0-5"]),
        ("style_mixing", ["--row_seeds=x"], ["--row_seeds", "x"]),
        ("style_mixing", ["--truncation_psi=nan"], ["--truncation_psi"]),
        ("truncation_sweep", ["--psis=1,x"], ["--psis", "1,x"]),
        ("truncation_sweep", ["--class_index=1"], ["not class-conditional"]),
        ("noise_figures", ["--crop=0,0,17,4"], ["--crop", "16x16", "0,0,17,4"]),
        ("interpolate", ["--grid=0x1"], ["--grid", "0x1"]),
        ("interpolate", ["--seeds=1-3", "--grid=2x1"], ["2 cells", "got 3"]),
        ("interpolate", ["--format=avi"], ["--format", "avi"]),
    ],
)
def test_tool_refuses(name, flags, words, model, tmp_path):
    if name == "interpolate":
        pytest.importorskip("imageio_ffmpeg")
    flags = [f"--model={model}", f"--outdir={tmp_path / 'out'}", *flags]
    fails(tool_runs.run(name, *flags), *words)
    assert not list(tmp_path.glob("out/*"))


FIGURES = "style_mixing truncation_sweep noise_figures interpolate resolution_usage"


@pytest.mark.parametrize("name", FIGURES.split())
def test_tool_short_help(name):
    output = tool_runs.run(name, "--helpshort").stdout
    assert "--model: " in output and "--outdir: " in output
    assert "Traceback" not in output
