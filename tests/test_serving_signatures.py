"""Signatures: what they give, and what they say to bad input."""

import io

import numpy as np
import PIL.Image
import pytest
import tensorflow as tf
from exported import CASES, W_DIM, Z_DIM, Exported, assert_same_images, networks_of

from tfstylegan import export, generate, rng, sampling
from tfstylegan.data import pipeline
from tfstylegan.serving import signatures


@pytest.fixture(scope="module", params=CASES)
def exported(request, tmp_path_factory):
    networks = networks_of(**CASES[request.param])
    networks.config.generator.truncation_psi = 0.6
    networks.config.generator.truncation_cutoff = 3
    outdir = tmp_path_factory.mktemp("export")
    return Exported(networks, export.export_saved_model(networks, outdir, max_batch=9))


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """One export, for what does not depend on the architecture."""
    networks = networks_of(label_dim=3, discriminator=True)
    outdir = tmp_path_factory.mktemp("export")
    path = export.export_saved_model(networks, outdir, max_batch=9, discriminator=True)
    return Exported(networks, path)


def test_signature_serving_default_is_keras_generator(exported):
    for count in (1, 5, 0):
        inputs = exported.inputs(count)
        images = exported.ask("serving_default", **inputs)
        if not count:
            assert images.shape[0] == 0 and images.ndim == 4
            continue
        # The model's own truncation is the default.
        expected = exported.keras(inputs, truncation_psi=0.6, truncation_cutoff=3)
        assert_same_images(images, expected)


def test_signature_truncation_of_each_image(exported):
    inputs = exported.inputs(4)
    psi, cutoff = [1, 0.5, 0.5, -0.7], [-1, 2, -1, 0]
    images = exported.ask(
        "serving_default", **inputs, truncation_psi=psi, truncation_cutoff=cutoff
    )
    for i in range(4):
        one = {name: x[i : i + 1] for name, x in inputs.items()}
        layers = None if cutoff[i] < 0 else cutoff[i]
        expected = exported.keras(one, truncation_psi=psi[i], truncation_cutoff=layers)
        assert_same_images(images[i : i + 1], expected)


def test_signature_seeds_are_those_of_generate(exported):
    seeds = [3, 2**32 - 1, 0]
    z = sampling.latents(seeds, Z_DIM)
    labels = exported.labels(3)
    images = exported.ask("serving_default", seed=seeds, **labels)
    expected = exported.ask("serving_default", z=z, **labels)
    assert np.array_equal(images, expected)
    # z counts where no seed is given, row by row.
    z[0] = 7
    mixed = exported.ask("serving_default", z=z, seed=[3, -1, -1], **labels)
    assert np.array_equal(mixed, expected)


def test_signature_noise_seed_is_that_of_generate(exported):
    seeds = [5, 9]
    inputs = {"z": sampling.latents(seeds, Z_DIM), **exported.labels(2)}
    images = exported.ask(
        "serving_default",
        seed=seeds,
        noise_seed=[11, -1],
        truncation_psi=1,
        **exported.labels(2),
    )
    options = {"noise_mode": "random", "noise_seed": 11}
    expected = generate.render(
        exported.generator, inputs["z"], inputs.get("labels"), seeds, **options
    )
    assert_same_images(images[:1], expected[:1])
    stored = exported.keras(inputs)
    assert np.abs(stored - expected).max() > 0.1  # noise is there to be seen
    assert_same_images(images[1:], stored[1:])


def test_signature_generate_png_encodes_the_images(exported):
    inputs = exported.inputs(3)
    files = exported.ask("generate_png", **inputs)
    images = exported.ask("serving_default", **inputs)
    assert files.shape == (3,)
    for file, image in zip(files, images, strict=True):
        pixels = np.asarray(PIL.Image.open(io.BytesIO(file)))
        assert np.array_equal(pixels.reshape(image.shape), image)


def test_signature_style_mix_takes_layers_of_the_other_code(exported):
    inputs, layers = exported.inputs(2), np.zeros([2, 6], bool)
    layers[0, 2:4] = layers[1, 5] = True
    images = exported.ask(
        "style_mix",
        **inputs,
        other_seed=[8, 9],
        layers=layers,
        truncation_psi=0.8,
        truncation_cutoff=-1,
    )
    mapping, w_avg = exported.generator.mapping, exported.generator.w_avg.numpy()
    labels = inputs.get("labels")
    ours = mapping(inputs["z"], labels).numpy()
    theirs = mapping(sampling.latents([8, 9], Z_DIM), labels).numpy()
    ws = np.where(layers[:, :, np.newaxis], theirs, ours)
    ws = w_avg + 0.8 * (ws - w_avg)
    expected = exported.generator.synthesis(ws.astype("f"), noise_mode="const")
    assert_same_images(images, expected)


def test_signature_mapping_gives_untruncated_w(exported):
    inputs = exported.inputs(5)
    ws = exported.ask("mapping", **inputs)
    expected = exported.generator.mapping(inputs["z"], inputs.get("labels")).numpy()
    assert np.std(expected) > 0.1
    np.testing.assert_allclose(ws, expected, rtol=1e-5, atol=1e-5)


def test_signature_synthesis_takes_each_layers_w(exported):
    shape = [3, exported.generator.synthesis.num_ws, W_DIM]
    ws = np.random.default_rng(3).normal(size=shape).astype(np.float32)
    expected = exported.generator.synthesis(tf.constant(ws), noise_mode="const")
    assert_same_images(exported.ask("synthesis", ws=ws), expected)
    images = exported.ask("synthesis_float", ws=ws)
    np.testing.assert_allclose(images, expected, rtol=1e-5, atol=1e-5)
    assert exported.ask("synthesis", ws=ws[:0]).shape == (0, *expected.shape[1:])


def test_signature_discriminate_gives_logits(plain):
    images = np.random.default_rng(0).integers(256, size=[8, 16, 16, 3]).astype("u1")
    labels = plain.labels(8)["labels"]
    logits = plain.ask("discriminate", images=images, labels=labels)
    expected = plain.networks.D(pipeline.to_float(images), labels).numpy()
    assert np.std(expected) > 1e-3
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 5])
def test_signature_generate_png_is_there_where_png_can_be(channels):
    generator = networks_of(channels=channels).G_ema
    options = {"truncation_psi": 1, "truncation_cutoff": -1, "max_batch": 1}
    options["images_of"] = generator.synthesis
    made = signatures.GeneratorSignatures(generator, generator.synthesis, **options)
    calls = made.calls()
    names = [call.__name__ for call, _ in calls]
    assert "serving_default" in names
    assert ("generate_png" in names) == (channels == 1)


# Bad input


@pytest.mark.parametrize(
    ("signature", "given", "message"),
    [
        (
            "serving_default",
            {"truncation_psi": np.nan},
            "must be finite; got] [nan",
        ),
        ("serving_default", {"truncation_psi": [1, np.inf]}, "psi must be finite"),
        (
            "serving_default",
            {"truncation_psi": [[1]]},
            "a number, or one an image",
        ),
        ("serving_default", {"truncation_cutoff": 7}, "must lie in [-1, 6]; got] [7"),
        ("serving_default", {"seed": 2**32}, "must lie in [-1, 4294967295]; got]"),
        ("serving_default", {"seed": [1, -2]}, "seed must lie in"),
        ("serving_default", {"noise_seed": -5}, "noise_seed must lie in"),
        ("serving_default", {"seed": -1}, "z must be finite where seed is not given"),
        ("serving_default", {"seed": range(10)}, "for at most 9 images; got] [10]"),
        ("generate_png", {"seed": [1, 2], "truncation_psi": [1] * 3}, "equally many"),
        ("serving_default", {"labels": [[1, 0, np.nan]]}, "labels must be finite"),
        (
            "style_mix",
            {"layers": np.ones([1, 6]), "seed": 0},
            "other_z must be finite",
        ),
        ("synthesis", {"ws": np.full([1, 6, W_DIM], np.inf)}, "ws must be finite"),
    ],
)
def test_signature_says_what_is_wrong(plain, signature, given, message):
    if signature != "synthesis":
        given = plain.labels(1) | {"seed": 0} | given
    with pytest.raises(tf.errors.InvalidArgumentError) as error:
        plain.ask(signature, **given)
    assert message in str(error.value)


def test_seed_of_a_stream_may_be_a_tensor():
    for base in (0, 5, 2**31 - 1):
        ours = rng.seed(tf.constant(base, tf.int64), "x", 3)
        assert np.array_equal(ours, rng.seed(base, "x", 3))
