"""Blocks of the ablations against slow NumPy oracles: figure 2c, rows A and B."""

import numpy as np
import oracles
import pytest
import tensorflow as tf

from tfstylegan import losses
from tfstylegan.networks import (
    adain_blocks,
    discriminator_growing,
    modulated_blocks,
    normalized_blocks,
    synthesis_growing,
    synthesis_resnet,
)


def relative(actual, expected):
    """Largest difference over the largest expected magnitude."""
    return np.max(np.abs(actual - expected)) / np.max(np.abs(expected))


def random_weights(network):
    for variable in network.weights:
        if variable.name != "lod":
            variable.assign(np.random.normal(size=variable.shape))


def inputs():
    x = np.random.normal(size=(3, 4, 5, 6)).astype(np.float32)
    return x, np.random.normal(size=(3, 7)).astype(np.float32)


def test_oracle_normalized_conv():
    """Styles scale the input; each map is divided by its deviation, its mean stays."""
    x, w = inputs()
    noise = np.random.normal(size=(3, 4, 5, 1)).astype(np.float32)
    layer = normalized_blocks.NormalizedConv(8)
    layer.build(x.shape, w.shape)
    random_weights(layer)
    affine = layer.conv.affine
    style = w @ affine.kernel.numpy() / np.sqrt(7) + affine.bias.numpy()
    kernel = layer.conv.kernel.numpy().astype(np.float64) / np.sqrt(9 * 6)
    y = oracles.conv2d(x * style[:, np.newaxis, np.newaxis], kernel, 1)
    for n, c in np.ndindex(3, 8):
        y[n, ..., c] /= np.sqrt(np.var(y[n, ..., c]) + 1e-8)
    y = y + noise * layer.noise.strength.numpy() + layer.bias.numpy()
    expected = oracles.lrelu(y) * np.sqrt(2)
    assert relative(layer(x, w, noise).numpy(), expected) < 1e-5


@pytest.mark.parametrize("up", [False, True])
def test_normalized_conv_gives_unit_deviation_whatever_the_style(up):
    x, w = inputs()
    layer = normalized_blocks.NormalizedConv(8, up=up)
    layer.build(x.shape, w.shape)
    for scale in (1, 30):
        y = layer(x, w * scale).numpy() / np.sqrt(2)
        y = np.where(y < 0, 5 * y, y)  # before the activation
        np.testing.assert_allclose(np.std(y, axis=(1, 2)), np.ones((3, 8)), rtol=1e-4)
        assert np.max(np.abs(np.mean(y, axis=(1, 2)))) > 0.1


def pixel_norm(x):
    return x / np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + 1e-8)


def test_oracle_traditional_input_of_progan():
    _, w = inputs()
    layer = adain_blocks.AdainStart(
        (4, 5, 6), const_input=False, use_noise=False, styles=False, pixel_norm=True
    )
    layer.build(w.shape)
    random_weights(layer)
    assert len(layer.weights) == 2
    x = w @ layer.dense.kernel.numpy() * np.sqrt(2) / 4 / np.sqrt(7)
    x = x.reshape(3, 6, 4, 5).transpose(0, 2, 3, 1)  # flattened as C, H, W
    expected = pixel_norm(oracles.lrelu(x + layer.bias.numpy()))
    assert relative(layer(w).numpy(), expected) < 1e-5


def test_oracle_convolution_of_progan():
    """Row A: no blur, no noise, no style; pixels are normalised."""
    x, w = inputs()
    layer = adain_blocks.AdainConv(
        8,
        up=True,
        use_noise=False,
        styles=False,
        pixel_norm=True,
        resample_kernel=(1,),
    )
    layer.build(x.shape, w.shape)
    random_weights(layer)
    kernel = layer.conv.kernel.numpy() * np.sqrt(2) / np.sqrt(9 * 6)
    y = oracles.conv2d(oracles.repeat(x, 2), kernel, 1) + layer.bias.numpy()
    expected = pixel_norm(oracles.lrelu(y))
    assert relative(layer(x, w).numpy(), expected) < 1e-5
    np.testing.assert_array_equal(layer(x, w + 1), layer(x, w))


def test_oracle_epilogue_normalises_pixels_before_the_style():
    x, w = inputs()
    layer = adain_blocks.AdainConv(8, pixel_norm=True)
    layer.build(x.shape, w.shape)
    random_weights(layer)
    noise = np.random.normal(size=(1, 4, 5, 1)).astype(np.float32)
    kernel = layer.conv.kernel.numpy() * np.sqrt(2) / np.sqrt(9 * 6)
    y = oracles.conv2d(x, kernel, 1) + noise * layer.noise.strength.numpy()
    y = pixel_norm(oracles.lrelu(y + layer.bias.numpy()))
    affine = layer.adain.affine
    style = w @ affine.kernel.numpy() / np.sqrt(7) + affine.bias.numpy()
    style = style[:, np.newaxis, np.newaxis]
    expected = oracles.instance_norm(y) * (1 + style[..., :8]) + style[..., 8:]
    assert relative(layer(x, w, noise).numpy(), expected) < 1e-5


def test_untrained_constant_is_one():
    layer = adain_blocks.AdainStart((4, 5, 6))
    layer.build((None, 7))
    np.testing.assert_array_equal(layer.const.numpy(), np.ones((1, 4, 5, 6)))


def test_blocks_that_make_no_sense_are_an_error():
    with pytest.raises(ValueError, match="const_input must be False without styles"):
        adain_blocks.AdainBlocks(styles=False)
    with pytest.raises(ValueError, match="gain must be None: AdaIN would undo it"):
        synthesis_resnet.ResnetSynthesis(
            blocks=adain_blocks.AdainBlocks(), resample_kernel=(1, 2, 1)
        )
    with pytest.raises(ValueError, match="block must be one of .*; got 'adain'"):
        discriminator_growing.GrowingDiscriminator(block="adain")


# Derivatives of derivatives, which the regularisers of both networks take.

SIZE = {"doublings": 1, "channels": 2, "fmap_max": 5, "dtype": "float64"}


def check_slope(function, variables):
    """The gradient of a scalar function of weights against a difference quotient."""
    values = [variable.value for variable in variables]
    directions = [np.random.normal(size=value.shape) for value in values]
    with tf.GradientTape() as tape:
        y = function()
    gradients = tape.gradient(y, values)
    expected = sum(
        np.sum(gradient * direction)
        for gradient, direction in zip(gradients, directions, strict=True)
        if gradient is not None
    )
    step, ends = 1e-7, []  # small: the slope of lrelu jumps
    for sign in (1, -2):
        for value, direction in zip(values, directions, strict=True):
            value.assign_add(sign * step * direction)
        ends.append(function().numpy())
    assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("block", ["stylegan2", "stylegan"])
@pytest.mark.parametrize("lod", [0, 0.5])
def test_gradient_of_r1(block, lod):
    taps = (1, 2, 1) if block == "stylegan" else (1, 3, 3, 1)
    network = discriminator_growing.GrowingDiscriminator(
        block=block, resample_kernel=taps, **SIZE
    )
    random_weights(network)
    network.grow(lod)
    images = tf.constant(np.random.normal(size=(4, 8, 8, 2)))
    check_slope(
        lambda: tf.reduce_sum(losses.r1_penalty(network, images)[0]),
        network.trainable_variables,
    )


@pytest.mark.parametrize(
    "blocks",
    [
        modulated_blocks.ModulatedBlocks(),
        normalized_blocks.NormalizedBlocks(),
        adain_blocks.AdainBlocks(),
        adain_blocks.AdainBlocks(False, False, False, True),
    ],
)
def test_gradient_of_path_lengths(blocks):
    network = synthesis_growing.GrowingSynthesis(
        w_dim=6, blocks=blocks, resample_kernel=(1, 2, 1), **SIZE
    )
    network.build()
    random_weights(network)
    network.grow(0.5)
    ws = tf.constant(np.random.normal(size=(2, 4, 6)))
    direction = tf.constant(np.random.normal(size=(2, 8, 8, 2)))

    def images(ws):
        return network(ws, noise_mode="const")

    def lengths():
        return tf.reduce_sum(losses.path_lengths(images, ws, direction))

    check_slope(lengths, network.trainable_variables)
