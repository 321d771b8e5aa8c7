"""Folded networks: the images of the network that was trained."""

import numpy as np
import pytest
import tensorflow as tf
from exported import W_DIM, networks_of

from tfstylegan import ops
from tfstylegan.networks import inference_blocks, synthesis_skip
from tfstylegan.ops import resample


@pytest.fixture(params=["reference", "compiled"])
def implementation(request):
    """What networks are traced and called with, either of them."""
    if request.param == "compiled":
        try:
            ops.library.library()
        except RuntimeError as reason:
            pytest.skip(str(reason))
    with ops.implementation(request.param):
        yield


def ws_of(network, count):
    numbers = np.random.default_rng(2)
    return tf.constant(numbers.normal(size=[count, network.num_ws, W_DIM]), tf.float32)


@pytest.mark.usefixtures("implementation")
@pytest.mark.parametrize("architecture", ["skip", "resnet", "orig", "growing"])
@pytest.mark.parametrize(
    "taps", [(1, 3, 3, 1), (1, 1), (1, 2, 1), (1, 4, 6, 5, 2)], ids=str
)
def test_folded_network_gives_the_same_images(architecture, taps):
    """Asymmetric taps and other lengths show where padding or flips are wrong."""
    network = networks_of(architecture=architecture, resample_kernel=taps)
    network = network.G_ema.synthesis
    if architecture == "growing":
        network.grow(0.5)
    folded = inference_blocks.fold(network)
    assert folded is not network
    ws = ws_of(network, 3)
    for noise_mode in ("const", "none"):
        expected = network(ws, noise_mode=noise_mode).numpy()
        images = folded(ws, noise_mode=noise_mode).numpy()
        assert expected.std() > 0.05
        np.testing.assert_allclose(images, expected, rtol=0, atol=3e-6)
    noise = network.draw_noise(3, tf.constant([1, 2]))
    expected = network(ws, noise=noise).numpy()
    assert np.abs(expected - images).max() > 0.05
    np.testing.assert_allclose(folded(ws, noise=noise), expected, rtol=0, atol=3e-6)


@pytest.mark.parametrize("taps", [(1,), (1, 4), (2, 1, 3), (1, 4, 6, 5, 2), (0, 1, 0)])
@pytest.mark.parametrize("channels", [1, 3])
def test_images_are_upsampled_as_by_definition(taps, channels):
    x = tf.random.stateless_normal([2, 5, 4, channels], [0, 1])
    found = inference_blocks.InferenceBlocks().upsample_2d(x, taps)
    expected = resample.upsample_2d(x, taps)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6)
    both = np.random.default_rng(0).uniform(size=[3, 4])  # an axis with taps of its own
    found = inference_blocks.InferenceBlocks().upsample_2d(x, both)
    expected = resample.upsample_2d(x, both)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6)


@pytest.mark.usefixtures("implementation")
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_folded_network_in_half_precision_is_as_near(dtype):
    wide = networks_of().G_ema
    half = wide.in_dtype(dtype, conv_clamp=256.0).synthesis
    ws = ws_of(half, 4)
    expected = wide.synthesis(ws, noise_mode="const").numpy()
    ours, theirs = (
        np.abs(network(ws, noise_mode="const") - expected).mean()
        for network in (inference_blocks.fold(half), half)
    )
    assert 0 < theirs and 0 < ours < 1.5 * theirs


@pytest.mark.usefixtures("implementation")
def test_folded_network_stays_within_the_clamp():
    network = networks_of().G_ema.synthesis
    config = {**network.get_config(), "conv_clamp": 0.1}
    clamped = synthesis_skip.SkipSynthesis.from_config(config)
    clamped.build()
    for ours, theirs in zip(clamped.variables, network.variables, strict=True):
        ours.assign(theirs)
    ws = ws_of(network, 2)
    expected = clamped(ws, noise_mode="const")
    folded = inference_blocks.fold(clamped)
    np.testing.assert_allclose(folded(ws, noise_mode="const"), expected, atol=3e-6)
    assert np.abs(expected - network(ws, noise_mode="const")).max() > 0.1


def test_folded_network_computes_nothing_of_weights_alone():
    """Products of weights would be seen as ops whose inputs are all variables."""
    network = networks_of().G_ema.synthesis
    found = {}
    for name, made in {"folded": inference_blocks.fold(network), "": network}.items():
        with ops.implementation("reference"):
            graph = tf.function(made, autograph=False).get_concrete_function(
                tf.TensorSpec([None, network.num_ws, W_DIM]), noise_mode="none"
            )
        found[name] = _sizes_of_constant_work(graph.graph)
    assert max(found[""]) >= 3 * 3 * 16 * 16  # a kernel is scaled at every call
    assert max(found["folded"]) <= 4 * 4 * 16  # taps of a filter for each map


def _sizes_of_constant_work(graph):
    """Numbers of elements that ops give which depend on no input of the call."""
    given = graph.inputs[: len(graph.inputs) - len(graph.captures)]
    dependent, sizes = {t.ref() for t in given}, []
    for op in graph.get_operations():
        if any(t.ref() in dependent for t in op.inputs):
            dependent |= {t.ref() for t in op.outputs}
        elif op.inputs and op.type not in ("ReadVariableOp", "Identity"):
            sizes += [t.shape.num_elements() or 0 for t in op.outputs]
    return sizes


@pytest.mark.parametrize(
    "options",
    [
        {"architecture": "growing", "block": "normalized"},
        {"architecture": "growing", "block": "adain", "resample_kernel": (1, 2, 1)},
    ],
)
def test_folding_leaves_other_networks_alone(options):
    network = networks_of(**options).G_ema.synthesis
    assert inference_blocks.fold(network) is network
