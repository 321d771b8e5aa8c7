"""Directions: against NumPy's own, their files, what moving along them does."""

import latent_models
import numpy as np
import PIL.Image
import pytest
import tool_runs
from test_commands import contents, fails
from test_latent_figures import BARE

from tfstylegan import rng, sampling
from tfstylegan.latents import codes as codes_lib
from tfstylegan.latents import directions, finding, rendering, statistics
from tfstylegan.metrics.detectors import classifier


@pytest.fixture(scope="module", params=["modulated", "adain"])
def generator(request):
    return latent_models.small_generator(request.param)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "small"
    latent_models.small_model(folder)
    return folder


def same_lines(found, expected, **close):
    """Vectors [K, D] are equal but for their signs."""
    signs = np.sign((found * expected).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(found * signs, expected, **close)


def test_samples_of_w_are_those_of_the_published_projector(generator):
    w = statistics.sample_w(generator, 300)
    z = np.random.RandomState(123).randn(300, latent_models.WIDTH).astype("f4")
    expected = generator.mapping(z).numpy()[:, 0]
    np.testing.assert_allclose(w, expected, rtol=1e-4, atol=1e-5)
    mean, spread = statistics.mean_and_spread(w)
    wide = w.astype(np.float64)
    np.testing.assert_allclose(mean, wide.mean(axis=0), rtol=1e-4, atol=1e-6)
    assert spread == pytest.approx(np.sqrt(wide.var(axis=0).sum()), rel=1e-6)
    assert np.any(statistics.sample_w(generator, 300, seed=1) != w)


def test_samples_of_w_have_every_class():
    g = latent_models.small_generator(labels=3)
    w = statistics.sample_w(g, 6)
    z = rng.seed_latent(123, 6 * latent_models.WIDTH).reshape(6, -1)
    expected = g.mapping(z, np.eye(3, dtype="f4")[[0, 1, 2, 0, 1, 2]])[:, 0]
    np.testing.assert_allclose(w, expected, rtol=1e-5, atol=1e-6)


def test_oracle_principal_directions_are_numpys_singular_vectors():
    mixing = np.random.randn(7, 7) * np.arange(1, 8)
    w = (np.random.randn(500, 7) @ mixing + 5).astype("f4")
    found = finding.principal(w, 4)
    centred = w.astype(np.float64) - w.astype(np.float64).mean(axis=0)
    _, singular, vectors = np.linalg.svd(centred, full_matrices=False)
    same_lines(found.vectors, vectors[:4], rtol=1e-4, atol=1e-5)
    deviations = singular / np.sqrt(len(w))
    np.testing.assert_allclose(found.scales, deviations[:4], rtol=1e-5)
    part = deviations**2 / np.sum(deviations**2)
    np.testing.assert_allclose(found.about["variance"], part[:4], rtol=1e-5)
    largest = np.abs(found.vectors).argmax(axis=1)
    assert np.all(found.vectors[range(4), largest] > 0)


@pytest.mark.parametrize("layers", [(0, 1, 2, 3, 4, 5), (1, 2)])
def test_oracle_factorised_directions_are_singular_vectors_of_the_weights(
    generator, layers
):
    """From the variables' names, without the layers' own properties."""
    w = statistics.sample_w(generator, 200)
    found = finding.factorised(generator, layers, w, 3)
    kernels = {
        v.path: v.numpy()
        for v in generator.variables
        if "affine/kernel" in v.path and "to_rgb" not in v.path
    }
    order = ["4x4_start"] if "4x4_start/adain/affine/kernel" in str(kernels) else []
    order += ["4x4_conv/", "8x8_conv_up", "8x8_conv/", "16x16_conv_up", "16x16_conv/"]
    matrices = [next(k for p, k in kernels.items() if name in p) for name in order]
    taken = [matrices[i] for i in layers if i < len(matrices)]
    stacked = np.concatenate(taken, axis=1).T / np.sqrt(latent_models.WIDTH)
    _, singular, vectors = np.linalg.svd(stacked.astype(np.float64))
    same_lines(found.vectors, vectors[:3], rtol=1e-3, atol=1e-4)
    eigenvalues = found.about["eigenvalues"]
    np.testing.assert_allclose(eigenvalues, singular[:3] ** 2, rtol=1e-4)
    deviations = (w.astype(np.float64) @ vectors[:3].T).std(axis=0)
    np.testing.assert_allclose(found.scales, deviations, rtol=1e-3)
    assert found.layers == layers


def test_factorised_directions_need_styles():
    g = latent_models.small_generator()
    w = statistics.sample_w(g, 10)
    with pytest.raises(ValueError, match=r"layers \[5\]"):  # of a to_rgb alone
        finding.factorised(g, (5,), w, 1)
    with pytest.raises(ValueError, match="1 to 6 directions; got 7"):
        finding.principal(w, 7)


def test_supervised_directions_are_normals_of_the_plane():
    normal = np.array([3.0, 0, -4, 0, 0]) / 5
    w = np.random.randn(3000, 5).astype("f4")
    p = 1 / (1 + np.exp(-20 * (w @ normal - 0.2)))
    none = np.zeros(len(w))
    probs = np.stack([np.stack([p, 1 - p], 1), np.stack([none, 1 - none], 1)])
    found = finding.supervised(w, probs, ["plane", "nothing"])
    assert found.names == ["plane"] and len(found) == 1
    assert found.vectors[0] @ normal > 0.99
    np.testing.assert_allclose(np.linalg.norm(found.vectors, axis=1), 1, rtol=1e-5)
    assert found.scales[0] == pytest.approx(1, abs=0.05)
    assert found.about["accuracy"][0] > 0.9

    codes = np.repeat(w[:400, np.newaxis], 2, axis=1)
    rates = [
        finding.flips(
            lambda ws: ws, lambda ws: ws[:, 1] @ normal > 0.2, codes, found, 0, s
        )
        for s in (0, 1, 5)
    ]
    away = np.abs(w[:400] @ normal - 0.2)
    assert rates[0] == 0 and rates[2] == 1
    assert rates[1] == pytest.approx(np.mean(away < 1), abs=0.03)
    with pytest.raises(ValueError, match="no attribute"):
        finding.supervised(w, probs[1:], ["nothing"])


def test_least_strength_is_the_first_that_will_do():
    tried = []

    def part(strength):
        tried.append(strength)
        return {1: 0.2, 2: 0.6, 3: 0.9, 4: 0.5, 5: 0.6}[strength]

    assert finding.least_strength(part, (1, 2, 3, 4), 0.6) == (2, 0.6)
    assert tried == [1, 2]
    assert finding.least_strength(part, (2, 3, 4), 0.95) == (3, 0.9)
    assert finding.least_strength(part, (1, 2, 4, 5), 0.95) == (2, 0.6)


def some(layers=None):
    vectors = np.eye(3, latent_models.WIDTH, dtype="f4")
    scales = np.array([2, 0.5, 1], "f4")
    return directions.Directions(
        vectors=vectors, scales=scales, names=["a", "b", "c"], layers=layers
    )


def test_moved_codes_are_ws_plus_strength_times_deviation():
    ws = np.random.randn(2, 5, latent_models.WIDTH).astype("f4")
    for found, given in ((some(), (1, 4)), (some((1, 4)), None)):
        moved = found.moved(ws, 1, -3, given)
        expected = ws.copy()
        expected[:, [1, 4], 1] -= 1.5
        np.testing.assert_allclose(moved, expected, rtol=1e-6)
    np.testing.assert_array_equal(some().moved(ws, 0, 1)[:, :, 0], ws[:, :, 0] + 2)
    np.testing.assert_array_equal(some().moved(ws, 0, 1, ()), ws)


def test_edit_of_strength_zero_is_the_image_bit_for_bit(generator):
    render = rendering.Renderer(generator)
    codes = codes_lib.of_seeds(generator, [1, 2, 3])
    found = finding.principal(statistics.sample_w(generator, 100), 2)
    original = render.codes(codes)
    for strength in (0, 0.0, -0.0):
        moved = found.moved(codes.ws, 1, strength)
        np.testing.assert_array_equal(render(moved), original)
    assert np.max(np.abs(render(found.moved(codes.ws, 1, 1)) - original)) > 1e-3


@pytest.mark.parametrize("layers", [None, (0, 2)])
def test_directions_come_back_from_their_file(generator, tmp_path, layers):
    ours = some(layers)
    ours.about = {"method": "x"}
    directions.save(tmp_path / "a.npz", ours)
    found = directions.load(tmp_path / "a.npz", generator)
    np.testing.assert_array_equal(found.vectors, ours.vectors)
    np.testing.assert_array_equal(found.scales, ours.scales)
    assert (found.names, found.layers, found.about) == (ours.names, layers, ours.about)
    with pytest.raises(ValueError, match="must hold latents; it holds directions"):
        codes_lib.load(tmp_path / "a.npz", generator)
    with pytest.raises(ValueError, match="a, b, c; there is no 'd'"):
        found.index("d")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"vectors": np.zeros([3, 5], "f4")}, r"vectors .*\[K, 6\]; got \[3, 5\]"),
        ({"scales": np.ones([2], "f4")}, r"scales .*\[3\]"),
        ({"names": ["a", "a", "b"]}, "3 different names"),
        ({"names": ["a", "b", "c/d"]}, "3 different names"),
        ({"layers": (9,)}, r"0-5; got \[9\]"),
    ],
)
def test_directions_refuse_other_files(generator, tmp_path, changes, words):
    ours = some()
    for field, value in changes.items():
        setattr(ours, field, value)
    directions.save(tmp_path / "a.npz", ours)
    with pytest.raises(ValueError, match=words) as caught:
        directions.load(tmp_path / "a.npz", generator)
    assert str(tmp_path / "a.npz") in str(caught.value)


def test_tool_directions_finds_shows_and_edits(model, tmp_path):
    place = (f"--model={model}", f"--outdir={tmp_path}", "--seeds=4,5", *BARE)
    find = ("--samples=200", "--count=2", "--strengths=0,2")
    tool_runs.succeeds("directions", *place, *find, "--method=sefa", "--layers=coarse")
    strips = [f"strip_seed000{i}.png" for i in (4, 5)]
    assert sorted(contents(tmp_path)) == ["directions.npz", *strips]
    strip = np.asarray(PIL.Image.open(tmp_path / strips[0]))
    assert strip.shape == (32, 32)
    np.testing.assert_array_equal(strip[:16, :16], strip[16:, :16])  # strength 0
    assert np.any(strip[:16, :16] != strip[:16, 16:])
    saved = (f"--directions={tmp_path / 'directions.npz'}",)
    tool_runs.succeeds("directions", *place, *saved, "--edit=sefa01:2,sefa00:0")
    g = latent_models.small_generator()
    edited = codes_lib.load(tmp_path / "edited.npz", g)
    codes = codes_lib.of_seeds(g, [4, 5])
    found = directions.load(tmp_path / "directions.npz", g)
    assert found.layers == (0, 1, 2, 3)
    np.testing.assert_array_equal(edited.ws, found.moved(codes.ws, 1, 2))
    np.testing.assert_array_equal(edited.ws[:, 4:], codes.ws[:, 4:])
    picture = np.asarray(PIL.Image.open(tmp_path / "edited.png"))
    before = sampling.to_uint8(rendering.Renderer(g).codes(codes))[..., 0]
    np.testing.assert_array_equal(picture[:16], np.concatenate(before, axis=1))
    np.testing.assert_array_equal(picture[:16, :16], strip[:16, :16])


@pytest.mark.slow
def test_tool_directions_finds_attributes_and_their_strengths(
    model, tmp_path, monkeypatch
):
    monkeypatch.setenv("TFSTYLEGAN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(classifier, "STEPS", 30)
    g = latent_models.small_generator()
    images = rendering.Renderer(g).codes(codes_lib.of_seeds(g, range(60)))
    pixels = sampling.to_uint8(images)[..., 0]
    bright = pixels.mean(axis=(1, 2)) > np.median(pixels.mean(axis=(1, 2)))
    for i, picture in enumerate(pixels):  # a folder for each class
        path = tmp_path / "data" / ("bright" if bright[i] else "dark") / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(picture).save(path)
    place = (f"--model={model}", f"--outdir={tmp_path / 'out'}", "--seeds=4")
    how = ("--method=svm", f"--data={tmp_path / 'data'}", "--samples=200")
    output = tool_runs.succeeds("directions", *place, *how, "--test_samples=20")
    found = directions.load(tmp_path / "out" / "directions.npz", g)
    rows = [line.split() for line in output.splitlines() if "attribute" in line]
    assert [row[0] for row in rows] == found.names and found.names
    told = found.about["strengths"], found.about["flips"]
    for row, strength, part in zip(rows, *told, strict=True):
        assert row[1] == f"{strength:g}" and row[3] == f"{part:.2f}"
    if len(found) == 2:  # of two classes each is the other's opposite
        assert found.vectors[0] @ found.vectors[1] < -0.9
    assert max(found.about["flips"]) > 0.5
    assert (tmp_path / "out" / "strip_seed0004.png").is_file()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ([], ["--method", "--directions"]),
        (["--method=pca", "--directions=x.npz"], ["--method", "--directions"]),
        (["--directions=x.npz"], ["x.npz"]),
        (["--method=pca", "--count=99"], ["1 to 6", "99"]),
        (["--method=pca", "--edit=pca00"], ["--edit", "pca00"]),
        (["--method=pca", "--edit=pca00:x"], ["--edit", "'x'"]),
        (["--method=pca", "--strengths=1,nan"], ["--strengths", "nan"]),
        (["--method=svm", "--detector=labels"], ["class-conditional"]),
        (["--method=pca", "--layers=9"], ["--layers", "0-5", "9"]),
        (["--method=pca", "--count=2", "--edit=x:1"], ["no 'x'", "pca00"]),
    ],
)
def test_tool_directions_refuses(model, tmp_path, flags, words):
    place = (f"--model={model}", f"--outdir={tmp_path / 'out'}")
    fails(tool_runs.run("directions", *place, *flags), *words)


def test_tool_directions_short_help():
    output = tool_runs.run("directions", "--helpshort").stdout
    assert "--method: " in output and "--data: " in output
