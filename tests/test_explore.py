"""What the page of `tools/explore.py` does, without the page and without gradio."""

import dataclasses
import io
import sys
import types
from unittest import mock

import latent_models
import model_server
import numpy as np
import PIL.Image
import pytest
import tensorflow as tf
import tool_runs
from exported import ROOT, networks_of
from test_commands import fails

from tfstylegan import export, sampling
from tfstylegan.latents import codes as codes_lib
from tfstylegan.latents import directions, finding, perceptual, rendering
from tfstylegan.networks import storage

sys.path.insert(0, str(ROOT / "tools"))
import explore
import model_servers
from explorer import (
    controls,
    figures,
    local,
    opening,
    projecting,
    served,
    studio,
    uploads,
    view,
)

OWN, RANDOM, OFF = (view.Noise(kind=x, number=4) for x in ("own", "random", "off"))


def assert_near(actual, expected):
    """uint8 images that differ by rounding alone."""
    assert actual.dtype == expected.dtype == np.uint8 and expected.std() > 5
    assert np.abs(actual.astype(int) - expected).max() <= 1


@pytest.fixture(scope="module")
def model():
    generator = latent_models.small_generator()
    config = latent_models.small_config()
    networks = storage.Networks(G=None, D=None, G_ema=generator, config=config)
    return local.LocalModel(networks, "small")


@pytest.fixture(scope="module")
def found(model):
    return finding.principal(model.sample_w(200), 3)


@pytest.fixture(scope="module")
def networks():
    return networks_of(label_dim=3)


@pytest.fixture(scope="module")
def path(networks, tmp_path_factory):
    return export.export_saved_model(networks, tmp_path_factory.mktemp("export"))


@pytest.fixture(scope="module")
def saved(path):
    return served.saved(path)


def test_explored_seed_is_that_of_generate(model):
    g = model.generator
    z = sampling.latents([5], g.mapping.z_dim)
    options = {"truncation_psi": 0.6, "noise_mode": "const"}
    expected = sampling.to_uint8(g(z, **options))[0]
    assert_near(model.image(view.View(seed=5, psi=0.6)), expected)


def test_explored_image_with_nothing_done_to_it_is_a_bit_for_bit(model, found):
    still = {"strengths": (0, 0.0), "noise": (OWN,) * 3, "way": 0.0}
    seen = view.View(seed=5, other_seed=6, psi=0.6, **still)
    alone = model.image(seen.alone())
    np.testing.assert_array_equal(model.image(seen, found), alone)
    other = model.image(seen.alone(other=True))
    assert np.any(other != alone)
    for all_of_it in ({"layers": tuple(range(6))}, {"way": 1.0}):
        there = model.image(dataclasses.replace(seen, **all_of_it), found)
        assert_near(there, other)


def test_explored_layers_come_from_b_and_directions_move_them(model, found):
    g = model.generator
    a, b = (codes_lib.of_seeds(g, [seed], psi=0.6).ws for seed in (5, 6))
    seen = view.View(seed=5, other_seed=6, psi=0.6, layers=(1, 4))
    expected = a.copy()
    expected[:, [1, 4]] = b[:, [1, 4]]
    np.testing.assert_array_equal(model.codes(seen).ws, expected)
    moved = dataclasses.replace(seen, strengths=(0, 2.0), moved=(0, 1))
    expected[:, :2] += 2 * found.scales[1] * found.vectors[1]
    np.testing.assert_allclose(model.codes(moved, found).ws, expected, rtol=1e-5)
    half = view.View(seed=5, other_seed=6, psi=0.6, way=0.25)
    between = model.codes(half).ws
    np.testing.assert_allclose(between, 0.75 * a + 0.25 * b, rtol=1e-4, atol=1e-6)


def test_explored_noise_is_of_each_resolution(model):
    assert model.noise_levels == ["4x4", "8x8", "16x16"]
    g, ws = model.generator, codes_lib.of_seeds(model.generator, [5]).ws
    off = model.image(view.View(seed=5, noise=(OFF,) * 3))
    assert_near(off, sampling.to_uint8(g.synthesis(ws, noise_mode="none"))[0])
    seen = view.View(seed=5, noise=(OWN, RANDOM, OFF))
    fixed, maps = g.synthesis.fixed_noise, model.codes(seen).noise
    sizes = [x.shape[1] for x in maps]
    assert sizes == [4, 8, 8, 16, 16]
    np.testing.assert_array_equal(maps[0], fixed[0])
    for i in (1, 2):
        assert np.all(maps[i] != fixed[i]) and 0.5 < np.std(maps[i]) < 1.5
    assert not maps[3].any() and not maps[4].any()
    rolled = dataclasses.replace(seen, noise=(OWN, view.Noise(kind="random"), OFF))
    assert np.any(model.image(seen) != model.image(rolled))
    assert model.codes(view.View(seed=5, noise=(OWN,) * 3)).noise is None


def test_explored_codes_have_their_own_truncation_and_noise(model):
    g = model.generator
    code = codes_lib.of_seeds(g, [9])
    code.names, code.noise = ["mine"], [0 * x for x in model._render.fixed_noise]
    seen = view.View(code=code, psi=0.3, other_seed=2, layers=(5,))
    found = model.codes(seen)
    assert found.names == ["mine-seed0002"]
    np.testing.assert_array_equal(found.ws[:, :5], code.ws[:, :5])
    alone = model.image(seen.alone())
    assert_near(alone, sampling.to_uint8(g.synthesis(code.ws, noise_mode="none"))[0])


def test_studio_files_hold_the_image_and_its_codes(model, found, tmp_path):
    work = studio.Studio(model, found)
    seen = view.View(
        seed=5, other_seed=6, layers=(0,), strengths=(1.0,), noise=(RANDOM, OWN, OFF)
    )
    name, content = work.image_file(seen)
    image = np.asarray(PIL.Image.open(io.BytesIO(content)))
    assert name == "seed0005-seed0006.png"
    np.testing.assert_array_equal(image, work.image(seen)[..., 0])
    name, content = work.latents_file(seen)
    (tmp_path / name).write_bytes(content)
    codes = codes_lib.load(tmp_path / name, model.generator)
    assert codes.about["explored"]["layers"] == [0]
    again = sampling.to_uint8(rendering.Renderer(model.generator).codes(codes))[0]
    np.testing.assert_array_equal(again[..., 0], image)


def test_studio_animation_goes_to_b_and_back(model):
    work = studio.Studio(model)
    *counts, (name, content) = work.animation(view.View(seed=5, other_seed=6), 4)
    gif = PIL.Image.open(io.BytesIO(content))
    assert counts == [1, 2, 3, 4] and name == "seed0005-seed0006.gif"
    assert gif.n_frames == 6 and gif.size == (256, 256)
    with pytest.raises(ValueError, match="from 2 to 60; got 61"):
        next(work.animation(view.View(), 61))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"seed": None}, "seed A must be a whole number from 0 to 4294967295"),
        ({"other_seed": 2**32}, "seed B"),
        ({"psi": float("nan")}, "psi must be a number; got nan"),
        ({"way": 1.5}, r"\[0, 1\]; got 1.5"),
        ({"strengths": (None,)}, "strength of a direction"),
    ],
)
def test_view_refuses_what_is_none(wrong, message):
    with pytest.raises(ValueError, match=message):
        view.View(**wrong)
    with pytest.raises(ValueError, match="own, random or off; got 'loud'"):
        view.Noise(kind="loud")


def test_exported_models_show_what_the_network_shows(saved, networks):
    network = local.LocalModel(networks, "network")
    found = finding.principal(network.sample_w(200), 2)
    np.testing.assert_allclose(
        saved.sample_w(100), network.sample_w(100), rtol=1e-4, atol=1e-5
    )
    seen = view.View(seed=5, other_seed=6, label=2, psi=0.6)
    for changes in (
        {},
        {"layers": (0, 3)},
        {"strengths": (2.0, -1.0), "layers": (1,)},
        {"psi": 1.0, "strengths": (2.0,)},
    ):
        changed = dataclasses.replace(seen, **changes)
        assert_near(saved.image(changed, found), network.image(changed, found))
        here, there = (x.codes(changed, found) for x in (saved, network))
        np.testing.assert_allclose(here.ws, there.ws, rtol=1e-4, atol=1e-5)
    end = dataclasses.replace(seen, way=1.0)
    assert_near(saved.image(end), network.image(seen.alone(other=True)))
    middle = saved.image(dataclasses.replace(seen, way=0.5))
    assert np.any(middle != saved.image(seen)) and np.any(middle != saved.image(end))


def test_exported_models_have_random_noise_but_no_codes_of_it(saved, found):
    seen = view.View(label=0, noise=(RANDOM,))
    assert np.any(saved.image(seen) != saved.image(view.View(label=0)))
    with pytest.raises(ValueError, match="does not tell its random noise"):
        saved.codes(seen)
    with pytest.raises(ValueError, match="its own noise only"):
        saved.image(dataclasses.replace(seen, strengths=(1.0,)), found)
    with pytest.raises(ValueError, match="class must be from 0 to 2; got 3"):
        saved.image(view.View(label=3))
    assert "no gradients" in saved.missing["projection"]


def test_served_models_are_exported_ones_without_a_mean(path, saved):
    with model_server.rest(model_server.Model(path)) as address:
        model = opening.model(f"{address}/v1/models/stylegan")
        assert model.size == saved.size and model.layer_names == saved.layer_names
        seen = view.View(seed=5, other_seed=6, label=1, psi=0.6, layers=(2,))
        np.testing.assert_array_equal(model.image(seen), saved.image(seen))
        for ask in (model.codes, lambda x: model.image(x, finding_of(model))):
            with pytest.raises(ValueError, match="at psi 1 only"):
                ask(dataclasses.replace(seen, strengths=(1.0,)))
        seen = dataclasses.replace(seen, psi=1.0)
        np.testing.assert_array_equal(model.codes(seen).ws, saved.codes(seen).ws)
        with pytest.raises(model_servers.Refused, match="not found"):
            opening.model(f"{address}/v1/models/other")
    with pytest.raises(model_servers.Unreachable):
        model.image(seen)


def finding_of(model):
    return finding.principal(model.sample_w(20), 1)


def test_opening_tells_a_folder_from_an_export(path, tmp_path):
    latent_models.small_model(tmp_path / "m")
    assert opening.model(str(tmp_path / "m")).kind == "model directory"
    assert opening.model(str(path)).kind == "SavedModel"
    with pytest.raises(ValueError, match="nowhere"):
        opening.model(str(tmp_path / "nowhere"))
    for address in ("http://host:8501", "ftp://host/v1/models/m", "grpc://host:1"):
        with pytest.raises(ValueError, match="an address must be like http"):
            opening.model(address)


def test_directions_are_found_or_read(model, saved, found, tmp_path):
    options = {"path": None, "count": 8, "samples": 50}
    pca = opening.found_directions(model, method="pca", **options)
    assert pca.names == [f"pca{i:02d}" for i in range(latent_models.WIDTH)]
    sefa = opening.found_directions(model, method="sefa", **options)
    assert sefa.names[0] == "sefa00" and sefa.layers == tuple(range(6))
    assert opening.found_directions(model, method="none", **options) is None
    with pytest.raises(ValueError, match="--method=sefa needs the weights"):
        opening.found_directions(saved, method="sefa", **options)
    directions.save(tmp_path / "d.npz", found)
    options["path"] = tmp_path / "d.npz"
    read = opening.found_directions(model, method="pca", **options)
    np.testing.assert_array_equal(read.vectors, found.vectors)
    with pytest.raises(ValueError, match=r"vectors of .* must be \[K, 16\]"):
        opening.found_directions(saved, method="pca", **options)


def test_uploads_are_small_images_or_a_sentence(tmp_path):
    path = tmp_path / "a.jpg"
    grey = np.full([40, 60], 200, np.uint8)
    PIL.Image.fromarray(grey).save(path, "PNG")  # what is in it counts
    pixels = uploads.read(path, size=(8, 8), channels=3)
    np.testing.assert_array_equal(pixels, np.full([8, 8, 3], 200))
    with pytest.raises(ValueError, match="60 x 40 pixels, and at most 0.002 million"):
        uploads.read(path, size=(8, 8), channels=3, max_pixels=2000)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match="cannot be used"):
        uploads.read(path, size=(8, 8), channels=3)
    path.write_bytes(b"words " * 300_000)
    with pytest.raises(ValueError, match="not a PNG"):
        uploads.read(path, size=(8, 8), channels=3)
    with pytest.raises(ValueError, match="it has 1.7 MiB, and at most 1 MiB"):
        uploads.read(path, size=(8, 8), channels=3, max_bytes=1 << 20)


@pytest.fixture
def projection(model, monkeypatch):
    monkeypatch.setattr(projecting, "CANDIDATES", 6)
    monkeypatch.setattr(projecting, "CHUNK", 3)
    tf.config.run_functions_eagerly(True)  # few steps take less than tracing them
    yield projecting.Projection(
        model.generator, perceptual.pixels(), max_steps=5, max_seconds=60
    )
    tf.config.run_functions_eagerly(False)


def test_projection_shows_what_it_has_found(model, projection):
    target = model.image(view.View(seed=3))
    *before, last = projection.run(target, 5)
    assert [x.done for x in before[:3]] == [0, 0, 0] and before[0].code is None
    assert last.ended == "Done." and last.done == last.total == 5
    assert last.code.about["steps_done"] == 5
    image = model.image(view.View(code=last.code))
    assert_near(last.image, image)
    difference = (image.astype(float) - target) / 127.5
    assert last.distance > 0 and np.mean(difference**2) < 2
    with pytest.raises(ValueError, match="steps must be from 1 to 5; got 6"):
        next(projection.run(target, 6))


def test_projection_ends_in_time_and_keeps_what_it_has(projection, model):
    projection.max_seconds = 0
    *_, last = projection.run(model.image(view.View(seed=3)), 5)
    assert last.done == 1 and last.code is not None
    assert last.ended == "Stopped after 0 seconds."


def test_controls_make_a_view_of_what_events_bring(model, found):
    made = controls.Controls(studio.Studio(model, found))
    values = {"seed": 3, "other_seed": 4, "psi": 0.5, "way": 0, "layers": [4, 1]}
    for i in range(3):
        values |= {f"noise{i}": "own", f"number{i}": i, f"strength{i}": i - 1}
    code = codes_lib.of_seeds(model.generator, [1])
    values |= {"moved": "coarse", "code": code, "base": controls.SEED}
    for name in values:
        made.add(name, types.SimpleNamespace(name=name))
    assert [x.name for x in made.all()] == list(values)
    seen = made.view(list(values.values()))
    assert seen.layers == (1, 4) and seen.code is None and seen.moved == (0, 1, 2, 3)
    assert seen.moves == [(0, -1), (2, 1)] and seen.noise[2] == view.Noise(number=2)
    text = controls.caption(seen, found)
    assert text == (
        "seed 3, styles of layers 1,4 from seed 4, psi 0.5, pca00 -1, pca02 +1"
    )
    projected = list((values | {"base": controls.IMAGE}).values())
    assert made.view(projected).code is code
    gone = values | {"base": controls.IMAGE, "code": None}
    with pytest.raises(ValueError, match="no projected image"):
        made.view(list(gone.values()))
    assert list(controls.ranges(model)) == ["coarse", "middle", "all", "none"]


def test_figures_hold_their_pictures_and_escape_words():
    image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    text = figures.picture(image, "<b>")
    assert (
        "data:image/png;base64," in text and "&lt;b&gt;" in text and "<b>" not in text
    )
    assert "<i>" not in figures.sentence("<i>") + figures.empty("<i>")


def test_explore_opens_what_its_flags_say(networks, tmp_path, monkeypatch):
    storage.save_networks(tmp_path, networks)
    told = {"model": str(tmp_path), "distance": "pixels", "directions": None}
    told |= {"method": "pca", "count": 2, "samples": 50, "upload_mib": 3}
    told |= {"max_steps": 7, "max_seconds": 60.0}
    values = types.SimpleNamespace(**told)
    monkeypatch.setattr(explore, "flags", types.SimpleNamespace(FLAGS=values))
    opened = explore.open_studio()
    assert len(opened.directions.names) == 2
    assert opened.projection.max_steps == 7
    assert opened.projection.perceptual.manifest == perceptual.pixels().manifest


def test_explore_without_gradio_says_what_to_install(tmp_path):
    with mock.patch.dict(sys.modules, {"gradio": None}):
        result = tool_runs.run("explore", f"--model={tmp_path}")
    fails(result, "the page needs gradio", "pip install 'tfstylegan[explore]'")


def test_explore_says_what_is_no_model(tmp_path):
    with mock.patch.dict(sys.modules, {"gradio": types.ModuleType("gradio")}):
        result = tool_runs.run("explore", f"--model={tmp_path}/none")
        fails(result, f"{tmp_path}/none holds no config.json")
        result = tool_runs.run("explore", "--model=http://127.0.0.1:9/v1/models/m")
        fails(result, "cannot be reached")
