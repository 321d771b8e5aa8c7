"""Latents, batches of images, style mixing, grids and files."""

import numpy as np
import PIL.Image
import pytest

from tfstylegan import config as config_lib
from tfstylegan import rng, sampling
from tfstylegan.networks import build


@pytest.fixture(scope="module")
def generator():
    config = config_lib.Config(seed=1)
    config.data.resolution, config.data.channels = 8, 1
    config.generator.fmap_base = 32
    config.generator.z_dim = config.generator.w_dim = 6
    config.generator.mapping_layers = 2
    g = build.build_generator(config.validate(), 3)
    for conv in g.synthesis.convs:
        conv.noise.strength.assign(0.5)
    return g


def test_latents_of_a_seed_do_not_depend_on_the_others():
    z = sampling.latents([3, 1, 3], 5)
    assert np.array_equal(z[0], z[2])
    assert np.array_equal(z[1], np.random.RandomState(1).randn(5).astype(np.float32))
    assert sampling.latents([], 5).shape == (0, 5)


def test_cycle_labels():
    labels = sampling.cycle_labels(5, 3)
    assert labels.argmax(1).tolist() == [0, 1, 2, 0, 1]
    assert np.array_equal(labels.sum(1), np.ones(5))
    assert sampling.cycle_labels(5, 0) is None


def test_render_does_not_depend_on_the_batch(generator):
    count = sampling.MAX_BATCH + 3
    z = sampling.latents(range(count), 6)
    labels = sampling.cycle_labels(count, 3)
    images = sampling.render(generator, z, labels, noise_mode="const")
    assert images.shape == (count, 8, 8, 1)
    last = generator(z[-2:], labels[-2:], noise_mode="const").numpy()
    np.testing.assert_allclose(images[-2:], last, rtol=1e-4, atol=1e-5)


def test_render_random_noise_is_a_function_of_its_seed(generator):
    z, labels = sampling.latents([0, 0], 6), sampling.cycle_labels(1, 3)[[0, 0]]
    images = [
        sampling.render(
            generator, z, labels, noise_mode="random", seed=rng.seed(s, "x")
        )
        for s in (0, 0, 1)
    ]
    assert np.array_equal(images[0], images[1])
    assert np.any(images[0] != images[2])
    assert np.any(images[0][0] != images[0][1])  # each image has noise of its own


def test_style_mixing_takes_layers_from_columns(generator):
    z, labels = sampling.latents(range(4), 6), sampling.cycle_labels(2, 3)
    num_ws = generator.mapping.num_ws
    shape = (3, 3, 8, 8, 1)

    def mix(layers):
        images = sampling.style_mixing(
            generator,
            z[:2],
            z[2:],
            layers=layers,
            row_labels=labels,
            noise_mode="const",
        )
        return images.reshape(shape)

    nothing, everything, half = mix(()), mix(range(num_ws)), mix(range(num_ws // 2))
    rows = generator(z[:2], labels, noise_mode="const").numpy()
    columns = generator(z[2:], labels, noise_mode="const").numpy()
    close = {"rtol": 1e-4, "atol": 1e-5}
    np.testing.assert_allclose(half[1:, 0], rows, **close)
    np.testing.assert_allclose(half[0, 1:], columns, **close)
    for i in range(2):
        np.testing.assert_allclose(nothing[1:, 1 + i], rows, **close)
        np.testing.assert_allclose(everything[1 + i, 1:], columns, **close)
    assert np.all(half[0, 0] == -1)
    assert np.max(np.abs(half[1, 1] - rows[0])) > 1e-3
    assert np.max(np.abs(half[1, 1] - columns[0])) > 1e-3


def test_grid_places_images_row_by_row():
    images = np.arange(5, dtype=np.uint8)[:, None, None, None] * np.ones(
        [1, 2, 3, 1], np.uint8
    )
    canvas = sampling.grid(images, 3)
    assert canvas.shape == (4, 9, 1)
    assert canvas[::2, ::3, 0].tolist() == [[0, 1, 2], [3, 4, 0]]


@pytest.mark.parametrize(
    "channels, mode", [(1, "L"), (2, "L"), (3, "RGB"), (4, "RGBA")]
)
def test_write_png(tmp_path, channels, mode):
    image = np.random.default_rng(0).integers(256, size=(4, 6, channels))
    image = image.astype(np.uint8)
    sampling.write_png(tmp_path / "a.png", image)
    read = PIL.Image.open(tmp_path / "a.png")
    assert (read.mode, read.size) == (mode, (6, 4))
    shown = image[..., 0] if mode == "L" else image
    assert np.array_equal(np.asarray(read), shown)
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]
