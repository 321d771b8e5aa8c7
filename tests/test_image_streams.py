"""Streams of generated images, from networks and from a SavedModel."""

import numpy as np
import pytest
import tensorflow as tf

from tfstylegan import config as config_lib
from tfstylegan import export, image_streams, spreading
from tfstylegan.data import pipeline
from tfstylegan.metrics import ppl
from tfstylegan.networks import build, storage


@pytest.fixture(scope="module")
def config():
    config = config_lib.Config(seed=1)
    config.data.resolution, config.data.channels = 8, 1
    config.generator.fmap_base = 32
    config.generator.z_dim = config.generator.w_dim = 6
    config.generator.mapping_layers = 2
    return config.validate()


@pytest.fixture(scope="module")
def generator(config):
    g = build.build_generator(config, 3)
    for conv in g.synthesis.convs:
        conv.noise.strength.assign(0.5)
    g.w_avg.assign(np.random.RandomState(0).randn(6))
    return g


LABELS = np.eye(3, dtype=np.float32)


def test_image_source_is_endless_repeatable_and_new(generator):
    first = image_streams.ImageSource(generator, LABELS).stream(7)
    again = image_streams.ImageSource(generator, LABELS).stream(7)
    a, b = first(40), first(3)
    assert a.dtype == np.uint8
    assert a.shape == (40, 8, 8, 1)
    assert np.array_equal(a, again(40))
    assert np.any(a[:3] != b)
    assert len(np.unique(a.reshape(40, -1), axis=0)) == 40


def test_images_that_are_not_finite_are_told(config):
    """As levels of 255 they would be black images, and a metric of them a number."""
    g = build.build_generator(config, 3)
    stream = image_streams.ImageSource(g, LABELS).stream(0)
    stream(2)
    bias = g.synthesis.trainable_variables[-1]
    bias.assign(np.full(bias.shape, np.nan, np.float32))
    with pytest.raises(ValueError, match="images must be finite, got NaN"):
        stream(image_streams.sampling.batch_size(g) + 2)


def test_paths_are_of_the_generator(generator):
    """What mapping and synthesis give is what the generator gives in one call."""
    stream = image_streams.ImageSource(
        generator, LABELS, truncation_psi=0.6, truncation_cutoff=2, noise_mode="const"
    )
    z, labels, key = stream.codes(7, 0)
    images = stream.synthesis(stream.mapping(z, labels), key)
    expected = generator(
        z, labels, truncation_psi=0.6, truncation_cutoff=2, noise_mode="const"
    )
    assert np.allclose(images, expected, atol=1e-5)
    shown = stream.stream(7)(len(z))
    assert np.abs(shown - pipeline.to_uint8(expected).numpy().astype(int)).max() <= 1


def test_all_rows_of_a_path_have_one_noise(generator):
    stream = image_streams.ImageSource(generator)
    z0, z1, t, labels, key = stream.paths(5, 2, 4)
    assert z0.shape == z1.shape == (4, 6) and labels is None
    assert ((0 <= t) & (t < 1)).all() and len(np.unique(t)) == 4
    ws = stream.mapping(z0, LABELS[[0, 0, 0, 0]])
    same = stream.synthesis(np.repeat(ws[:1], 3, axis=0), key)
    assert np.array_equal(same[0], same[2])
    other = stream.synthesis(ws[:1], stream.paths(5, 3, 4)[-1])
    assert np.abs(other - same[0]).max() > 1e-3
    again = stream.paths(5, 2, 4)
    assert np.array_equal(again[0], z0) and not np.array_equal(z0, z1)


def test_labels_are_the_same_at_both_ends(generator):
    labels = image_streams.ImageSource(generator, LABELS).paths(1, 0, 5)[3]
    assert labels.shape == (10, 3) and np.array_equal(labels[:5], labels[5:])


def test_two_devices_give_the_images_of_one(generator):
    """Whatever is asked for, and at once: more than a round, less than a batch."""
    two = spreading.Devices(["CPU:0", "CPU:1"])
    a = image_streams.ImageSource(generator, LABELS).stream(7)
    b = image_streams.ImageSource(generator, LABELS, devices=two).stream(7)
    for count in (100, 3, 40):
        assert np.array_equal(a(count), b(count))


def test_mirrored_variables_give_the_images_of_one_device(config, generator):
    """As in training on two devices: each variable has a copy on both."""
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        mirrored = build.build_generator(config, 3)
    for ours, theirs in zip(mirrored.variables, generator.variables, strict=True):
        ours.assign(theirs)
    devices = spreading.Devices(strategy.extended.worker_devices)
    options = {"truncation_psi": 0.7}
    a = image_streams.ImageSource(generator, LABELS, **options)
    b = image_streams.ImageSource(mirrored, LABELS, devices=devices, **options)
    assert np.array_equal(a.stream(3)(70), b.stream(3)(70))


def test_paths_are_those_of_images_that_can_be_made_again(generator):
    """Of labels and noise, on one device and on two."""
    seen, found = {}, {}
    for names in ((), ("CPU:0", "CPU:1")):
        stream = image_streams.ImageSource(
            generator, LABELS, devices=spreading.Devices(names)
        )
        starts = {}

        def distance(a, b, starts=starts):
            starts[float(a[0].sum())] = a  # calls may come in any order
            return np.square(a - b).sum(axis=(1, 2, 3))

        paths = ppl.random_paths(
            stream, distance, count=40, seed=3, space="w", ends=True
        )
        found[names] = list(paths)
        seen[names] = starts
    assert [len(lengths) for lengths, *_ in found[()]] == [16, 16, 8]
    for one, two in zip(*found.values(), strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
    for lengths, z, labels, key in found[()]:
        assert (lengths > 0).all() and len(z) == len(labels) == len(lengths)
        i = len(z) - 1
        ws = stream.mapping(z[i : i + 1], labels[i : i + 1])
        again = ppl.visible(stream.synthesis(ws, key), crop=False)[0]
        errors = [np.abs(a[i] - again).max() for a in seen[()].values()]
        assert min(errors) < 1e-2 < sorted(errors)[1]


def test_saved_model_gives_the_images_of_its_networks(config, generator, tmp_path):
    networks = storage.Networks(G=None, D=None, G_ema=generator, config=config)
    path = export.export_saved_model(networks, tmp_path)
    served = image_streams.ServedSource(path, LABELS, truncation_psi=0.7)
    assert served.image_shape == (8, 8, 1) and served.label_dim == 3
    kept = image_streams.ImageSource(
        generator, LABELS, truncation_psi=0.7, noise_mode="const"
    )
    a, b = served.stream(3)(50), kept.stream(3)(50)
    assert a.dtype == np.uint8 and np.abs(a.astype(int) - b).max() <= 1
    two = spreading.Devices(["CPU:0", "CPU:1"])
    spread = image_streams.ServedSource(path, LABELS, truncation_psi=0.7, devices=two)
    assert np.array_equal(spread.stream(3)(50), a)
    other = served.truncated(-0.5)
    assert np.any(other.stream(3)(5) != a[:5])
    assert other.manifest["truncation_psi"] == -0.5
    assert served.manifest["truncation_psi"] == 0.7


def test_other_saved_models_are_refused(tmp_path):
    tf.saved_model.save(tf.Module(), str(tmp_path / "empty"))
    with pytest.raises(ValueError, match="empty is no generator of ours"):
        image_streams.ServedSource(tmp_path / "empty")
    with pytest.raises(ValueError, match="nothing cannot be read"):
        image_streams.ServedSource(tmp_path / "nothing")
