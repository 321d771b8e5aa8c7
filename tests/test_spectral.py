"""Spectral normalisation of equalised layers, alone and in both networks."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfstylegan import losses
from tfstylegan.layers import equalized, spectral
from tfstylegan.networks import adain_blocks, discriminator_growing, synthesis_growing

SIZE = {"doublings": 1, "channels": 2, "fmap_max": 5}


def relative(actual, expected):
    """Largest difference over the largest expected magnitude."""
    return np.max(np.abs(actual - expected)) / np.max(np.abs(expected))


def settled(layer, x):
    """The layer after so many power iterations that the norm is exact."""
    for _ in range(200):
        layer(x, training=True)
    return layer


@pytest.mark.parametrize("scale", [1, 100])
def test_oracle_kernel_is_divided_by_its_largest_singular_value(scale):
    x = np.random.normal(size=(3, 4, 5, 6)).astype(np.float32)
    inner = equalized.EqualizedConv2D(7, act="lrelu", kernel_gain=1.3, seed=1)
    layer = spectral.SpectralNorm(inner, seed=2)
    layer.build(x.shape)
    inner.bias.assign(np.random.normal(size=7))
    inner.kernel.assign(inner.kernel * scale)
    before = inner.kernel.numpy()
    y = settled(layer, x)(x).numpy()
    np.testing.assert_array_equal(inner.kernel.numpy(), before)
    sigma = np.linalg.svd(before.reshape(-1, 7), compute_uv=False)[0]
    expected = inner.transform(x, before / sigma * 1.3, 1).numpy()
    assert relative(y, expected) < 1e-5


def test_oracle_dense_layer():
    x = np.random.normal(size=(3, 6)).astype(np.float32)
    inner = equalized.EqualizedDense(4, lr_mul=0.1, seed=1)
    layer = spectral.SpectralNorm(inner, seed=2)
    layer.build(x.shape)
    inner.bias.assign(np.random.normal(size=4))
    y = settled(layer, x)(x).numpy()
    kernel = inner.kernel.numpy()
    sigma = np.linalg.svd(kernel, compute_uv=False)[0]
    assert relative(y, x @ kernel / sigma + 0.1 * inner.bias.numpy()) < 1e-5


def test_power_iteration_is_of_training_only():
    x = np.random.normal(size=(3, 6)).astype(np.float32)
    layer = spectral.SpectralNorm(equalized.EqualizedDense(4, seed=1), seed=2)
    layer(x)
    before = layer.vector_u.numpy()
    layer(x)
    np.testing.assert_array_equal(layer.vector_u.numpy(), before)
    layer(x, training=True)
    assert np.all(layer.vector_u.numpy() != before)
    assert not layer.vector_u.trainable


def test_saved_with_the_vector_that_it_has_reached(tmp_path):
    x = np.random.normal(size=(3, 6)).astype(np.float32)
    layer = spectral.SpectralNorm(equalized.EqualizedDense(4, seed=1), seed=2)
    symbol = keras.Input([6])
    model = keras.Model(symbol, layer(symbol))
    layer(x, training=True)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(x), model(x))


def networks():
    blocks = adain_blocks.AdainBlocks(spectral_norm=True)
    g = synthesis_growing.GrowingSynthesis(
        w_dim=6, blocks=blocks, resample_kernel=(1, 2, 1), seed=1, **SIZE
    )
    g.build()
    d = discriminator_growing.GrowingDiscriminator(spectral_norm=True, seed=2, **SIZE)
    return g, d


def vectors(network):
    return [v for v in network.weights if v.name == "vector_u"]


def test_networks_normalise_their_convolutions():
    """All of D; the convolutions of G, but neither styles nor to_rgb."""
    g, d = networks()
    assert len(vectors(g)) == 3 and len(vectors(d)) == 7
    ws = np.random.normal(size=(4, 4, 6)).astype(np.float32)
    before = [v.numpy() for v in (*vectors(g), *vectors(d))]
    logits = d(g(ws, training=True), training=True)
    assert np.all(np.isfinite(logits)) and np.std(logits) > 0
    moved = [
        np.any(v.numpy() != old)
        for v, old in zip((*vectors(g), *vectors(d)), before, strict=True)
    ]
    assert sum(moved) == 9  # all but the from_rgb of a level that is not in use


def test_r1_passes_through_the_norm_on_two_replicas():
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        _, d = networks()
    images = tf.constant(np.random.normal(size=(4, 8, 8, 2)), tf.float32)
    variables = d.trainable_variables

    @tf.function
    def step():
        def run():
            with tf.GradientTape() as tape:
                penalty, _ = losses.r1_penalty(lambda x: d(x, training=True), images)
                total = tf.reduce_sum(penalty)
            return tape.gradient(
                total, [v.value for v in variables], unconnected_gradients="zero"
            )

        return strategy.experimental_local_results(strategy.run(run))

    first, second = step()
    assert any(np.any(gradient != 0) for gradient in first)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    for vector in vectors(d):
        a, b = strategy.experimental_local_results(vector.value)
        np.testing.assert_array_equal(a.numpy(), b.numpy())
