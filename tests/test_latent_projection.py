"""Projection: its parts against NumPy, recovery of images, resumption, its tool."""

import json

import detector_files
import keras
import latent_models
import numpy as np
import PIL.Image
import pytest
import tensorflow as tf
import test_detector_lpips
import tool_runs
from test_commands import fails

from tfstylegan import rng
from tfstylegan.latents import codes as codes_lib
from tfstylegan.latents import (
    files,
    nearest,
    noise_maps,
    perceptual,
    projecting,
    projection,
    rendering,
    statistics,
)
from tfstylegan.metrics.detectors import discriminator
from tfstylegan.networks import build


@pytest.fixture(scope="module")
def generator(request):
    return latent_models.small_generator(request.param)


@pytest.fixture
def eagerly():
    """Few steps take less than tracing them."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="module")
def modulated():
    return latent_models.small_generator()


def oracle_regulariser(maps):
    total = 0.0
    for v in maps:
        v = v[..., 0].astype(np.float64)
        while True:
            for axis in (1, 2):
                total += (v * np.roll(v, 1, axis)).mean(axis=(1, 2)) ** 2
            n, h, w = v.shape
            if min(h, w) <= 8:
                break
            v = v.reshape(n, h // 2, 2, w // 2, 2).mean(axis=(2, 4))
    return total


def test_oracle_regulariser_of_noise():
    sizes = [(4, 4), (8, 8), (8, 8), (16, 16), (32, 32), (32, 32), (16, 48)]
    maps = [np.random.randn(3, *size, 1).astype("f4") for size in sizes]
    found = noise_maps.regulariser([tf.constant(v) for v in maps])
    np.testing.assert_allclose(found, oracle_regulariser(maps), rtol=1e-4)
    smooth = [np.ones([1, 32, 32, 1], "f4")]
    assert noise_maps.regulariser(smooth)[0] == 2 * 3  # both axes, three scales


def test_normalised_noise_has_mean_0_and_deviation_1():
    v = noise_maps.normalised(tf.constant(np.random.rand(2, 4, 8, 1).astype("f4")))
    np.testing.assert_allclose(np.mean(v, axis=(1, 2, 3)), 0, atol=1e-6)
    np.testing.assert_allclose(np.std(v, axis=(1, 2, 3)), 1, rtol=1e-5)


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (0, 0),
        (25, 0.05),
        (50, 0.1),
        (500, 0.1),
        (750, 0.1),
        (875, 0.05),
        (1000, 0),
        (938, 0.1 * (0.5 - 0.5 * np.cos(np.pi * 0.248))),
    ],
)
def test_learning_rate_at_its_knots(step, expected):
    found = projection.learning_rate(projection.Options(steps=1000), step)
    assert float(found) == pytest.approx(expected, abs=1e-6)


def test_oracle_pixel_distance():
    a, b = np.random.uniform(-1, 1, [2, 3, 16, 32, 2]).astype("f4")
    see = perceptual.pixels()
    found = see.distance(see.maps(tf.constant(a)), see.maps(tf.constant(b)))
    expected, d = [], (a - b).astype(np.float64)
    while True:
        expected.append(np.mean(d**2, axis=(1, 2, 3)))
        n, h, w, c = d.shape
        if min(h, w) == 4:
            break
        d = d.reshape(n, h // 2, 2, w // 2, 2, c).mean(axis=(2, 4))
    np.testing.assert_allclose(found, np.mean(expected, axis=0), rtol=1e-4)


def test_discriminator_distance_is_that_of_the_detector():
    d = build.build_discriminator(latent_models.small_config(), 0)
    detector = discriminator.Discriminator(d)
    a, b = np.random.uniform(0, 255, [2, 4, 16, 16, 1]).astype("f4")
    see = perceptual.discriminator(detector)
    maps = [see.maps(tf.constant(x / 127.5 - 1)) for x in (a, b)]
    np.testing.assert_allclose(
        see.distance(*maps), detector.distance(a, b), rtol=1e-3, atol=1e-6
    )


def test_lpips_distance_is_that_of_the_detector(tmp_path):
    widths = test_detector_lpips.WIDTHS
    convs = detector_files.vgg16_convolutions(widths)
    heads = [np.random.rand(width).astype("f4") for width in widths]
    states = test_detector_lpips.states(convs, heads)
    detector = test_detector_lpips.load(tmp_path, *states)
    see = perceptual.lpips(detector)
    for channels in (1, 3):
        a, b = np.random.uniform(0, 255, [2, 2, 32, 48, channels]).astype("f4")
        maps = [see.maps(tf.constant(x / 127.5 - 1)) for x in (a, b)]
        np.testing.assert_allclose(
            see.distance(*maps), detector.distance(a, b), rtol=1e-3
        )
    large = np.random.uniform(-1, 1, [1, 512, 512, 1]).astype("f4")
    small = large.reshape(1, 256, 2, 256, 2, 1).mean(axis=(2, 4))
    maps = see.maps(tf.constant(large)), see.maps(tf.constant(small))
    np.testing.assert_allclose(see.distance(*maps), 0, atol=1e-6)
    with pytest.raises(ValueError, match="at least 16 pixels; got 8"):
        see.maps(tf.zeros([1, 8, 16, 1]))


def test_unit_maps_have_a_gradient_where_they_are_0():
    x = tf.zeros([1, 1, 1, 3])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.reduce_sum(perceptual._unit(x))
    assert np.all(np.isfinite(tape.gradient(y, x)))


def projector(g, targets, **changes):
    options = {"steps": 40} | changes
    w = statistics.sample_w(g, 500)
    mean, spread = statistics.mean_and_spread(w)
    return projection.Projector(
        g,
        perceptual.pixels(),
        targets,
        np.tile(mean, [len(targets), 1]),
        spread=spread,
        numbers=range(len(targets)),
        options=projection.Options(**options),
    )


def some_targets(g, seeds=(3, 4)):
    return rendering.Renderer(g).codes(codes_lib.of_seeds(g, seeds))


def oracle_gradient(g, w, targets):
    """Of the summed distances of w [T, 1, D], through the formulas of the distance."""
    w = tf.constant(w, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(w)
        images = g.synthesis(tf.repeat(w, 6, axis=1), noise_mode="const")
        d, total = images - targets, 0.0
        for _ in range(3):  # 16, 8 and 4 pixels
            total += tf.reduce_sum(tf.reduce_mean(d**2, axis=[1, 2, 3])) / 3
            n, side = d.shape[:2]
            d = tf.reshape(d, [n, side // 2, 2, side // 2, 2, 1])
            d = tf.reduce_mean(d, axis=[2, 4])
    return tape.gradient(total, w).numpy().astype(np.float64)


def test_oracle_steps_without_noise(modulated, eagerly):
    targets = some_targets(modulated)
    ours = projector(modulated, targets, optimise_noise=False, steps=20)
    w, m, v = ours.w.numpy().astype(np.float64), 0.0, 0.0
    for number in (1, 2, 3, 4):
        t = (number - 1) / 20
        keys = [rng.seed(0, "projection", i) for i in range(2)]
        keys = [tf.random.fold_in(rng.fold(key, "w"), number - 1) for key in keys]
        draws = np.stack([rng.normal(key, w.shape[1:]) for key in keys])
        moved = w + ours.spread * 0.05 * (1 - t / 0.75) ** 2 * draws
        gradient = oracle_gradient(modulated, moved, targets)
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        lr = 0.1 * min(1, t / 0.05)
        w = w - lr * m / (1 - 0.9**number) / np.sqrt(v / (1 - 0.999**number))
        ours.step()
        np.testing.assert_allclose(ours.w.numpy(), w, atol=1e-3)
    assert lr == 0.1 and np.max(np.abs(w - ours.ws()[:, :1])) < 1e-3


@pytest.mark.parametrize(
    ("generator", "space"),
    [("modulated", "w+"), ("adain", "w")],
    indirect=["generator"],
)
def test_projection_comes_nearer(generator, space):
    ours = projector(generator, some_targets(generator), space=space, steps=40)
    _, before = ours.measure()
    for _ in range(40):
        ours.step()
    images, after = ours.measure()
    assert np.all(after < before / 2)
    ws, noise = ours.ws(), ours.noise_maps()
    assert ws.shape == (2, 6, latent_models.WIDTH)
    assert np.all(ws == ws[:, :1]) == (space == "w")
    assert [x.shape[1:3] for x in noise] == generator.synthesis.noise_sizes
    np.testing.assert_allclose([np.std(x[0]) for x in noise], 1, rtol=1e-4)
    again = rendering.Renderer(generator)(ws, noise)
    np.testing.assert_allclose(again, images, rtol=1e-4, atol=1e-5)


def test_projection_does_not_depend_on_its_company(modulated, eagerly):
    targets = some_targets(modulated)
    both, alone = projector(modulated, targets), projector(modulated, targets[:1])
    for _ in range(4):
        both.step()
        alone.step()
    np.testing.assert_allclose(both.ws()[:1], alone.ws(), rtol=1e-3, atol=1e-4)


def test_projection_goes_on_to_the_same_bits(modulated):
    targets = some_targets(modulated)
    straight, other = (projector(modulated, targets) for _ in range(2))
    for step in range(16):
        if step == 8:
            other.restore(straight.state())
            assert other.steps_done == 8
        if step >= 8:
            other.step()
        straight.step()
    np.testing.assert_array_equal(straight.ws(), other.ws())
    for ours, theirs in zip(straight.noise_maps(), other.noise_maps(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(ValueError, match="another projection"):
        projector(modulated, targets[:1]).restore(other.state())


def test_networks_alone_go_back_to_w_and_noise_and_change_nothing(modulated, eagerly):
    ours = projector(modulated, some_targets(modulated))
    ours.step()
    before = ours.state()
    gradients = ours.networks_alone()
    assert [x.shape for x in gradients] == [tuple(v.shape) for v in ours.trainable]
    with tf.GradientTape() as tape:  # of half the squares, whose gradient are images
        values = [v.value for v in ours.trainable]
        tape.watch(values)
        ws = tf.repeat(values[0], 6, axis=1)
        images = modulated.synthesis(ws, noise=values[1:])
        loss = tf.reduce_sum(tf.square(images)) / 2
    for found, expected in zip(gradients, tape.gradient(loss, values), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    for name, array in ours.state().items():
        np.testing.assert_array_equal(array, before[name])


def test_projection_refuses_targets_of_another_size(modulated):
    with pytest.raises(ValueError, match=r"targets must be \[1, 16, 16, 1\]; got"):
        projector(modulated, np.zeros([1, 8, 8, 1], "f4"))
    for changes in ({"space": "z"}, {"steps": 0}):
        with pytest.raises(ValueError, match=f"{next(iter(changes))} must be"):
            projection.Options(**changes)


def test_nearest_sample_is_found(modulated, eagerly):
    w = statistics.sample_w(modulated, 70)
    chosen = [69, 0, 33]
    ws = np.repeat(w[chosen, np.newaxis], 6, axis=1)
    targets = modulated.synthesis(ws, noise_mode="const").numpy()
    seen = []
    found, distances = nearest.nearest(
        modulated, perceptual.pixels(), targets, w, seen.append
    )
    np.testing.assert_array_equal(found, w[chosen])
    np.testing.assert_allclose(distances, 0, atol=1e-6)
    assert sum(seen) == 70


class Stopped(Exception):
    pass


def test_projecting_loses_nothing_when_it_is_stopped(
    modulated, tmp_path, eagerly, monkeypatch
):
    monkeypatch.setattr(statistics, "SAMPLES", 100)
    targets, names = some_targets(modulated, (1, 2, 3)), ["a", "b", "c"]
    options = projection.Options(steps=6)

    def project(folder, tell=lambda *_: None, targets=targets):
        runner = projecting.Projecting(
            modulated,
            perceptual.pixels(),
            options,
            folder,
            candidates=64,
            batch=2,
            save_steps=2,
            tell=tell,
        )
        return runner, runner.run(targets, names)

    def stop(batch, what, done, total):
        if (batch, what, done) == (1, "steps", 3):
            raise Stopped

    seen = []
    _, straight = project(tmp_path / "straight")
    with pytest.raises(Stopped):
        project(tmp_path / "stopped", stop)
    runner, found = project(tmp_path / "stopped", lambda *told: seen.append(told))
    assert seen[0] == (1, "steps", 3, 6)  # batch 0 is there, and 2 steps of batch 1
    assert found.codes.names == names
    np.testing.assert_array_equal(found.codes.ws, straight.codes.ws)
    for ours, theirs in zip(found.codes.noise, straight.codes.noise, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(found.distances, straight.distances)
    np.testing.assert_allclose(found.images, straight.images, rtol=1e-4, atol=1e-5)
    seen.clear()
    project(tmp_path / "stopped", lambda *told: seen.append(told), targets * 0.9)
    assert seen[0] == (0, "samples", 32, 64)  # other targets: from the start
    runner.forget()
    assert not list((tmp_path / "stopped").iterdir())


def test_projection_state_is_a_file_of_numbers(modulated, tmp_path, eagerly):
    ours = projector(modulated, some_targets(modulated))
    ours.step()
    files.write(tmp_path / "s.npz", projecting.STATE, ours.state(), {})
    state, _ = files.read(tmp_path / "s.npz", projecting.STATE)
    other = projector(modulated, some_targets(modulated))
    other.restore(state)
    for a, b in zip(ours._variables(), other._variables(), strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    assert isinstance(ours.w, keras.Variable)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "small"
    latent_models.small_model(folder)
    return folder


def test_tool_project(model, modulated, tmp_path, monkeypatch):
    monkeypatch.setattr(statistics, "SAMPLES", 100)
    monkeypatch.setenv("TFSTYLEGAN_CACHE", str(tmp_path / "cache"))
    place = [f"--model={model}", f"--outdir={tmp_path / 'out'}", "--candidates=64"]
    output = tool_runs.succeeds("project", *place, "--seeds=3,4", "--steps=30")
    assert "pixels, as LPIPS is not there" in output and "forward and back" in output
    codes = codes_lib.load(tmp_path / "out" / "latents.npz", modulated)
    assert codes.names == ["seed0003", "seed0004"]
    images = rendering.Renderer(modulated).codes(codes)
    target = np.asarray(PIL.Image.open(tmp_path / "out" / "seed0004_target.png"))
    told = json.loads((tmp_path / "out" / "projection.json").read_text())["targets"]
    written = np.asarray(PIL.Image.open(tmp_path / "out" / "seed0004_projected.png"))
    power = np.mean((written.astype(float) - target) ** 2)
    assert told[1]["psnr"] == pytest.approx(10 * np.log10(255**2 / power), rel=1e-6)
    shown = np.clip(images[1, ..., 0] * 127.5 + 128, 0, 255)
    assert np.abs(shown - written).max() < 1.1
    names = {file.name for file in (tmp_path / "out").iterdir()}
    assert names == {"latents.npz", "projection.json", "projection.png"} | {
        f"seed000{i}_{x}.png" for i in (3, 4) for x in ("target", "projected")
    }
    again = [f"--model={model}", f"--outdir={tmp_path / 'mixed'}"]
    rows = f"--row_latents={tmp_path / 'out' / 'latents.npz'}"
    tool_runs.succeeds("style_mixing", *again, rows, "--layers=none")


def test_tool_project_of_files(model, tmp_path, monkeypatch, eagerly):
    monkeypatch.setattr(statistics, "SAMPLES", 100)
    pytest.importorskip("imageio_ffmpeg")
    monkeypatch.setenv("TFSTYLEGAN_CACHE", str(tmp_path / "cache"))
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        pixels = np.random.randint(256, size=[40, 30, 3]).astype(np.uint8)
        PIL.Image.fromarray(pixels).save(tmp_path / folder / "my face.png")
    targets = f"--targets={tmp_path / 'a'},{tmp_path / 'b' / 'my face.png'}"
    place = [f"--model={model}", f"--outdir={tmp_path / 'out'}", "--candidates=0"]
    options = ["--steps=11", "--batch=1", "--video", "--distance=discriminator"]
    tool_runs.succeeds("project", *place, targets, *options, "--noise=const")
    names = {file.name for file in (tmp_path / "out").iterdir()}
    for name in ("my_face", "my_face-2"):
        assert {f"{name}_target.png", f"{name}.mp4"} <= names


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ([], ["--targets"]),
        (["--seeds=1", "--targets=x.png"], ["--targets"]),
        (["--targets=nowhere.png"], ["nowhere.png"]),
        (["--targets=tests/oracles.py"], ["oracles.py"]),
        (["--targets=custom_ops"], ["custom_ops", "no images"]),
        (["--seeds=1", "--distance=lpips"], ["vgg16-397923af.pth is missing"]),
        (["--seeds=1", "--steps=0"], ["steps"]),
    ],
)
def test_tool_project_refuses(model, tmp_path, monkeypatch, flags, words):
    monkeypatch.setenv("TFSTYLEGAN_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tool_runs.ROOT)
    place = [f"--model={model}", f"--outdir={tmp_path / 'out'}", "--candidates=0"]
    fails(tool_runs.run("project", *place, *flags), *words)


def test_tool_project_short_help():
    output = tool_runs.run("project", "--helpshort").stdout
    assert "--targets: " in output and "--space: " in output
