"""Use of resolutions: against the weights' own influence on whole images."""

import numpy as np
import pytest
from test_loop import tiny_config

from tfstylegan import image_streams, rng
from tfstylegan.metrics import detectors, resolution_usage, suite
from tfstylegan.networks import build


def generator(**changes):
    config = tiny_config()
    config.data.resolution, config.data.channels = 16, 2
    for name, value in changes.items():
        setattr(config.generator, name, value)
    return build.build_generator(config.validate())


def test_contributions_add_up_to_the_images():
    g = generator()
    for conv in (*g.synthesis.convs, *g.synthesis.up_convs):
        conv.noise.strength.assign(np.full(conv.noise.strength.shape, 0.3))
    ws = g.mapping(np.random.normal(size=(3, 4)).astype(np.float32))
    noise = g.synthesis.draw_noise(3, rng.seed(1, "noise"))
    parts = g.synthesis.contributions(ws, noise)
    assert len(parts) == 3 and {tuple(x.shape) for x in parts} == {(3, 16, 16, 2)}
    images = g.synthesis(ws, noise=noise)
    np.testing.assert_allclose(sum(parts), images, rtol=1e-4, atol=1e-5)


def test_oracle_usage_is_the_spread_that_a_level_alone_makes():
    """Level k alone: the to_rgb layers of all other levels are switched off."""
    g = generator()
    layers = g.synthesis.to_rgb
    weights = [[v.numpy() for v in layer.trainable_variables] for layer in layers]
    count = 40  # more than one batch of 32
    sigmas = []
    for alone in range(len(layers)):
        for level, layer in enumerate(layers):
            for variable, value in zip(layer.trainable_variables, weights[level]):
                if variable.path.endswith(("kernel", "bias")):
                    variable.assign(value if level == alone else 0 * value)
        images = []
        for number, rows in enumerate((32, 8)):
            key = rng.seed(5, resolution_usage.STREAM, number)
            z = rng.normal(key, [rows, 4])
            noise = g.synthesis.draw_noise(rows, rng.fold(key, "noise"))
            images.append(g.synthesis(g.mapping(z), noise=noise).numpy())
        sigmas.append(np.std(np.concatenate(images), dtype=np.float64))
    for layer, values in zip(layers, weights, strict=True):
        for variable, value in zip(layer.trainable_variables, values):
            variable.assign(value)
    usage = resolution_usage.resolution_usage(g, num_images=count, seed=5)
    assert list(usage) == [4, 8, 16]
    assert sum(usage.values()) == pytest.approx(1)
    assert min(sigmas) > 0
    expected = np.array(sigmas) / np.sum(sigmas)
    np.testing.assert_allclose(list(usage.values()), expected, rtol=1e-4)


@pytest.mark.parametrize("architecture", ["orig", "resnet", "growing"])
def test_other_architectures_have_no_parts(architecture):
    g = generator(architecture=architecture)
    assert resolution_usage.resolution_usage(g) is None


def test_labels_are_taken_in_turns():
    config = tiny_config()
    config.data.labels = True
    g = build.build_generator(config, 3)
    eye = np.eye(3, dtype=np.float32)
    both = [
        resolution_usage.resolution_usage(g, labels, num_images=6)
        for labels in (eye, eye[:1])
    ]
    assert both[0] != both[1]


def watching(counted):
    def watch(batches, *, title, total, size=len):
        assert title == "resolution_usage24: generated images" and total == 24
        for batch in batches:
            counted.append(size(batch))
            yield batch

    return watch


def test_metric_by_name_is_the_usage_of_the_model():
    config = tiny_config()
    config.data.resolution, config.data.labels = 16, True
    g = build.build_generator(config, 3)
    g.w_avg.assign(np.full(g.w_avg.shape, 2.0))
    eye, values = np.eye(3, dtype=np.float32), {}
    for psi in (1.0, 0.5):
        model = image_streams.ImageSource(g, eye, truncation_psi=psi)
        counted = []
        result = suite.Suite(None, None, watch=watching(counted)).compute(
            "resolution_usage24", model, num_images=7, seed=2
        )
        assert sum(counted) == 24
        usage = resolution_usage.resolution_usage(
            g, model.condition(2, 0, 24), num_images=24, seed=2, mapping=model.mapping
        )
        finest = {"resolution_usage24_finest": usage[16]}
        named = {f"resolution_usage24_{height}": x for height, x in usage.items()}
        values[psi] = result["values"]
        assert result["values"] == finest | named
        assert list(result["values"])[0] == "resolution_usage24_finest"
        assert result["num_fake"] == 24 and result["detector"] is None
    assert values[1.0] != values[0.5]


def test_metric_by_name_is_left_out_of_other_architectures():
    model = image_streams.ImageSource(generator(architecture="orig"))
    with pytest.raises(detectors.Unavailable, match="output skips"):
        suite.Suite(None, None).compute("resolution_usage", model, num_images=4)
