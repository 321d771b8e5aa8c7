"""Images made one by one: those of the batch."""

import numpy as np
import pytest
import tensorflow as tf
from exported import W_DIM, networks_of
from test_inference_blocks import ws_of

from tfstylegan import ops
from tfstylegan.networks import inference_blocks, inference_samples, synthesis_skip


@pytest.fixture(autouse=True)
def stock():
    """With TensorFlow's own ops, for which images are made one by one."""
    with ops.implementation("reference"):
        yield


def folded(**options):
    return inference_blocks.fold(networks_of(**options).G_ema.synthesis)


@pytest.mark.parametrize("architecture", ["skip", "resnet", "orig"])
@pytest.mark.parametrize("first", [1, 2])
def test_images_one_by_one_are_those_of_the_batch(architecture, first):
    network = folded(architecture=architecture)
    one_by_one = inference_samples.OneByOne(network, first)
    ws = ws_of(network, 3)
    stored, none = network.fixed_noise, [None] * network.num_ws
    drawn = network.draw_noise(3, tf.constant([1, 2]))
    made = []
    for noise in (stored, drawn, none):
        expected = network(ws, noise=noise).numpy()
        made.append(expected)
        assert expected.std() > 0.05
        np.testing.assert_allclose(one_by_one(ws, noise), expected, atol=3e-6)
    assert np.abs(made[0] - made[1]).max() > 0.05 < np.abs(made[0] - made[2]).max()


def test_images_one_by_one_of_a_graph_for_any_batch():
    network = folded(architecture="skip")
    one_by_one = inference_samples.OneByOne(network, 1)
    specs = [
        tf.TensorSpec([None, network.num_ws, W_DIM]),
        [tf.TensorSpec([None, *size, 1]) for size in network.noise_sizes],
    ]
    graph = tf.function(one_by_one, input_signature=specs, autograph=False)
    for count in (1, 4):
        ws = ws_of(network, count)
        stored = [tf.convert_to_tensor(x) for x in network.fixed_noise]
        expected = network(ws, noise=stored)
        np.testing.assert_allclose(graph(ws, stored), expected, rtol=0, atol=3e-6)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_images_one_by_one_in_half_precision_are_as_near(dtype):
    wide = networks_of().G_ema
    half = inference_blocks.fold(wide.in_dtype(dtype, conv_clamp=256.0).synthesis)
    ws, noise = ws_of(half, 4), half.fixed_noise
    expected = wide.synthesis(ws, noise_mode="const").numpy()
    batch = np.abs(half(ws, noise=noise) - expected).mean()
    ours = np.abs(inference_samples.OneByOne(half, 1)(ws, noise) - expected).mean()
    assert 0 < batch and 0 < ours < 1.5 * batch


def test_images_one_by_one_stay_within_the_clamp():
    generator = networks_of().G_ema
    config = {**generator.synthesis.get_config(), "conv_clamp": 0.1}
    clamped = type(generator.synthesis).from_config(config)
    clamped.build()
    for ours, theirs in zip(
        clamped.variables, generator.synthesis.variables, strict=True
    ):
        ours.assign(theirs)
    network = inference_blocks.fold(clamped)
    ws, noise = ws_of(network, 2), network.fixed_noise
    images = inference_samples.OneByOne(network, 1)(ws, noise)
    np.testing.assert_allclose(images, network(ws, noise=noise), atol=3e-6)


def test_nothing_adds_a_bias_behind_a_filter():
    """TensorFlow 2.21 joins a depthwise convolution with BiasAdd, and aborts."""
    network = folded(architecture="skip")
    one_by_one = inference_samples.OneByOne(network, 1)
    none = [None] * network.num_ws
    graph = tf.function(lambda ws: one_by_one(ws, none), autograph=False)
    ws = ws_of(network, 2)
    np.testing.assert_allclose(graph(ws), network(ws, noise=none), atol=3e-6)
    definition = graph.get_concrete_function(ws).graph.as_graph_def()
    nodes = [n for f in definition.library.function for n in f.node_def]
    types = {node.name: node.op for node in nodes}
    biased = [types.get(n.input[0].split(":")[0]) for n in nodes if n.op == "BiasAdd"]
    assert "Conv2D" in biased and "DepthwiseConv2dNative" not in biased
    assert "DepthwiseConv2dNative" in types.values()


@pytest.mark.parametrize(
    ("doublings", "fmap_base", "fmap_max", "first"),
    [
        (8, 16384, 512, 5),  # StyleGAN2's F at 1024x1024: from 128x128 on
        (6, 8192, 512, 5),
        (3, 1024, 128, None),  # yardstick32
        (3, 64, 4, 1),
    ],
)
def test_images_are_made_one_by_one_where_maps_are_large(
    doublings, fmap_base, fmap_max, first
):
    network = synthesis_skip.SkipSynthesis(
        doublings=doublings, fmap_base=fmap_base, fmap_max=fmap_max
    )
    assert inference_samples.first_level(network) == first
