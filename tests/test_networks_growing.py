"""Growing networks: exact at every lod, and only what is in use is run."""

import json

import numpy as np
import oracles
import pytest
import tensorflow as tf

from tfstylegan import checkpoints, export
from tfstylegan import config as config_lib
from tfstylegan.networks import (
    adain_blocks,
    build,
    discriminator_growing,
    discriminator_orig,
    modulated_blocks,
    normalized_blocks,
    storage,
    synthesis_growing,
    synthesis_orig,
)

BLOCKS = {
    "modulated": modulated_blocks.ModulatedBlocks(),
    "normalized": normalized_blocks.NormalizedBlocks(),
    "adain": adain_blocks.AdainBlocks(),
}
W, LEVELS = 6, 3  # 4x4, 8x8, 16x16
SIZE = {"doublings": LEVELS - 1, "channels": 2, "fmap_base": 40, "fmap_max": 7}
LODS = [0, 0.25, 1, 1.75, 2]


def relative(actual, expected):
    """Largest difference over the largest expected magnitude."""
    return np.max(np.abs(actual - expected)) / np.max(np.abs(expected))


def random_weights(network):
    for variable in network.weights:
        if variable.name != "lod":
            variable.assign(np.random.normal(size=variable.shape))


def by_name(network):
    return {v.path.partition("/")[2]: v for v in network.weights}


def synthesis_of(block):
    taps = (1, 2, 1) if block == "adain" else (1, 3, 3, 1)
    network = synthesis_growing.GrowingSynthesis(
        w_dim=W, blocks=BLOCKS[block], resample_kernel=taps, name="synthesis", **SIZE
    )
    network.build()
    random_weights(network)
    return network


def discriminator_of(block):
    taps = (1, 2, 1) if block == "stylegan" else (1, 3, 3, 1)
    network = discriminator_growing.GrowingDiscriminator(
        block=block, resample_kernel=taps, name="discriminator", **SIZE
    )
    random_weights(network)
    return network


def fixed(network, cls, levels):
    """A network of fixed size with the weights of the first levels of `network`."""
    config = {**network.get_config(), "doublings": levels - 1}
    result = cls.from_config(config)
    if not result.built:
        result.build()
    source = by_name(network)
    for name, variable in by_name(result).items():
        variable.assign(source[name].numpy())
    return result


def latents(count=4):
    return np.random.normal(size=(count, 2 * LEVELS, W)).astype(np.float32)


def pictures(count=4):
    return np.random.normal(size=(count, 16, 16, 2)).astype(np.float32)


# The numbers.


def exactly(network):
    """weights(name) of an oracle."""
    arrays = {k: v.numpy().astype(np.float64) for k, v in by_name(network).items()}
    return arrays.__getitem__


@pytest.mark.parametrize("lod", LODS)
def test_oracle_growing_generator(lod):
    network, ws = synthesis_of("adain"), latents(2)
    network.grow(lod)
    noise = [np.random.normal(size=(2, *size, 1)) for size in network.noise_sizes]
    slow = oracles.StyleGAN(exactly(network), [4, 8, 16], lod)
    expected = slow.generator(ws.astype(np.float64), noise)
    images = network(ws, noise=[tf.constant(x, tf.float32) for x in noise])
    assert images.shape == expected.shape == (2, 16, 16, 2)
    assert relative(images.numpy(), expected) < 1e-5


@pytest.mark.parametrize("lod", LODS)
def test_oracle_growing_discriminator(lod):
    network, images = discriminator_of("stylegan"), pictures()
    network.grow(lod)
    slow = oracles.StyleGAN(exactly(network), [4, 8, 16], lod)
    expected = slow.discriminator(images.astype(np.float64))
    assert relative(network(images).numpy(), expected) < 1e-4


@pytest.mark.parametrize("lod", [0, 1])
@pytest.mark.parametrize("block", BLOCKS)
def test_generator_at_an_integer_lod_is_a_network_of_that_size(block, lod):
    network, ws = synthesis_of(block), latents()
    network.grow(lod)
    small = fixed(network, synthesis_orig.OrigSynthesis, LEVELS - lod)
    expected = small(ws[:, : network.layers_in_use], noise_mode="const").numpy()
    images = network(ws, noise_mode="const").numpy()
    np.testing.assert_array_equal(images, oracles.repeat(expected, 2**lod))


@pytest.mark.parametrize("lod", [0, 1])
@pytest.mark.parametrize("block", ["stylegan2", "stylegan"])
def test_discriminator_at_an_integer_lod_is_a_network_of_that_size(block, lod):
    network, images = discriminator_of(block), pictures()
    network.grow(lod)
    small = fixed(network, discriminator_orig.OrigDiscriminator, LEVELS - lod)
    expected = small(oracles.box(images, 2**lod).astype(np.float32)).numpy()
    assert relative(network(images).numpy(), expected) < 1e-5


@pytest.mark.parametrize("block", ["modulated", "normalized"])
def test_generator_in_a_fade_is_between_two_sizes(block):
    network, ws = synthesis_of(block), latents()
    images = {}
    for lod in (1, 1.25, 2):
        network.grow(lod)
        images[lod] = network(ws, noise_mode="const").numpy()
    expected = 0.75 * images[1] + 0.25 * images[2]
    assert relative(images[1.25], expected) < 1e-6


def test_discriminator_of_stylegan2_in_a_fade_is_between_two_views():
    """The features below the last level are those of a network of that size."""
    network, images = discriminator_of("stylegan2"), pictures()
    network.grow(0.25)
    new = network.from_rgb[2](images)
    new = network.down_convs[1](network.convs[1](new)).numpy()
    half = oracles.box(images, 2).astype(np.float32)
    old = network.from_rgb[1](half).numpy()
    small = fixed(network, discriminator_orig.OrigDiscriminator, LEVELS - 1)
    small.from_rgb = lambda x: x  # its features are given
    expected = small(0.75 * new + 0.25 * old).numpy()
    assert relative(network(images).numpy(), expected) < 1e-5


@pytest.mark.parametrize("lod", LODS)
def test_layers_in_use_are_the_ws_that_matter(lod):
    network, ws = synthesis_of("modulated"), latents(1)
    network.grow(lod)
    assert network.layers_in_use == 2 * LEVELS - 2 * int(np.floor(lod))
    images = network(ws, noise_mode="none").numpy()
    for layer in range(2 * LEVELS):
        other = np.array(ws)
        other[:, layer] += 1
        same = np.array_equal(network(other, noise_mode="none"), images)
        assert same == (layer >= network.layers_in_use)


# The stage.


@pytest.mark.parametrize(
    "lod, levels, fades",
    [(0, 3, False), (0.01, 3, True), (1, 2, False), (1.99, 2, True), (2, 1, False)],
)
def test_stage_says_what_runs(lod, levels, fades):
    for network in (synthesis_of("modulated"), discriminator_of("stylegan2")):
        network.grow(lod)
        assert network.stage == (levels, fades)
        assert hash(network.stage) == hash((levels, fades))


@pytest.mark.parametrize("lod", [-0.5, 2.01, float("nan"), float("inf")])
def test_lod_out_of_range_is_an_error(lod):
    for network in (synthesis_of("adain"), discriminator_of("stylegan")):
        with pytest.raises(ValueError, match=r"lod must lie in \[0, 2\]; got"):
            network.grow(lod)


def test_networks_of_fixed_size_have_no_lod():
    config = small_config()
    config.generator.architecture = config.discriminator.architecture = "orig"
    networks = build.build_generator(config), build.build_discriminator(config)
    for network in networks:
        network.grow(0)
        assert network.stage is None
        with pytest.raises(ValueError, match="lod must be 0 .* fixed size; got 1"):
            network.grow(1)
    assert networks[0].layers_in_use == 2 * LEVELS


def test_stage_follows_the_variable_however_it_is_set():
    network, other = synthesis_of("modulated"), synthesis_of("modulated")
    other.grow(1.5)
    network.set_weights(other.get_weights())
    assert network.stage == (2, True)
    network.lod.assign(1)
    assert network.stage == (2, False)
    network.lod.value.assign(0.5)  # as a checkpoint does, or an average in a graph
    assert network.stage == (3, True) and network.layers_in_use == 6


def convolutions(graph):
    kinds = ("Conv2D", "Conv2DBackpropInput")
    return sum(node.type in kinds for node in graph.get_operations())


@pytest.mark.parametrize(
    "lod, generator, discriminator",
    [(0, 6, 6), (0.5, 7, 7), (1, 4, 4), (1.5, 5, 5), (2, 2, 2)],
)
def test_only_what_is_in_use_is_run(lod, generator, discriminator):
    """A convolution of the first level and two of each other one, images apart."""
    g, d = synthesis_of("adain"), discriminator_of("stylegan")
    for network in (g, d):
        network.grow(lod)
    in_graph = tf.function(lambda ws: g(ws)).get_concrete_function(latents())
    assert convolutions(in_graph.graph) == generator
    sizes = [
        op.outputs[0].shape[1:3]
        for op in in_graph.graph.get_operations()
        if "Normal" in op.type
    ]
    assert len(sizes) == g.layers_in_use
    in_graph = tf.function(lambda x: d(x)).get_concrete_function(pictures())
    assert convolutions(in_graph.graph) == discriminator


@pytest.mark.parametrize("lod", LODS)
def test_only_what_is_in_use_learns(lod):
    level = {"4x4": 0, "8x8": 1, "16x16": 2}
    for network, inputs in (
        (synthesis_of("adain"), latents()),
        (discriminator_of("stylegan"), pictures()),
    ):
        network.grow(lod)
        with tf.GradientTape() as tape:
            y = network(inputs)
        variables = network.trainable_variables
        gradients = tape.gradient(y, [variable.value for variable in variables])
        for variable, gradient in zip(variables, gradients, strict=True):
            name = variable.path.split("/")[1]
            where = level.get(name.partition("_")[0], 0)
            used = where < network.stage.levels
            if name.endswith("_rgb"):
                new = network.stage.levels - 1
                used = where == new or (network.stage.fades and where == new - 1)
            assert (gradient is not None) == used, variable.path


# Graphs, files, replicas.


def test_lod_moves_within_a_stage_without_a_new_graph():
    g, d = synthesis_of("adain"), discriminator_of("stylegan")
    traces = []

    @tf.function
    def logits(ws):
        traces.append(g.stage)
        return d(g(ws, noise_mode="const"))

    ws = latents()
    for lod in (1.75, 1.25, 1.0):
        for network in (g, d):
            network.grow(lod)
        expected = d(g(ws, noise_mode="const")).numpy()
        assert relative(logits(ws).numpy(), expected) < 1e-4
    assert traces == [(2, True)]


@pytest.mark.parametrize("before, after", [(1.5, 0.5), (1, 0.99), (0.5, 1.01), (0, 2)])
def test_graph_of_another_stage_fails(before, after):
    for network, inputs in (
        (synthesis_of("modulated"), latents()),
        (discriminator_of("stylegan2"), pictures()),
    ):
        network.grow(before)
        in_graph = tf.function(lambda x, network=network: network(x))
        in_graph(inputs)
        network.grow(after)
        with pytest.raises(tf.errors.InvalidArgumentError, match="trace this graph"):
            in_graph(inputs)


def small_config():
    config = config_lib.Config()
    config.data.resolution, config.data.channels = 16, 2
    config.generator.z_dim, config.generator.w_dim = 5, W
    config.generator.mapping_layers = 1
    config.generator.block, config.discriminator.block = "adain", "stylegan"
    for network in (config.generator, config.discriminator):
        network.architecture, network.resample_kernel = "growing", (1, 2, 1)
        network.fmap_base, network.fmap_max = 40, 7
    return config


@pytest.fixture
def networks():
    """G, D and G_ema in the middle of a fade."""
    config = small_config()
    g, g_ema = (build.build_generator(config.validate()) for _ in range(2))
    d = build.build_discriminator(config)
    for network in (g, d, g_ema):
        random_weights(network)
        network.grow(0.375)
    return storage.Networks(g, d, g_ema, config)


def check_equal(loaded, networks):
    z = np.random.normal(size=(4, 5)).astype(np.float32)
    for name in ("G", "G_ema"):
        theirs, ours = (getattr(x, name) for x in (loaded, networks))
        assert theirs.stage == (3, True)
        images = ours(z, noise_mode="const").numpy()
        np.testing.assert_array_equal(theirs(z, noise_mode="const"), images)
    assert loaded.D.stage == (3, True) and loaded.D.lod.numpy() == 0.375
    np.testing.assert_array_equal(loaded.D(images), networks.D(images))


def test_model_directory_keeps_a_fade(networks, tmp_path):
    storage.save_networks(tmp_path, networks)
    check_equal(storage.load_networks(tmp_path), networks)


def test_checkpoint_keeps_a_fade(networks, tmp_path):
    (tmp_path / config_lib.CONFIG_FILE).write_text(networks.config.to_json())
    (tmp_path / config_lib.DATA_FILE).write_text(json.dumps({"label_dim": 0}))
    fields = {
        field: storage.variables_by_path(getattr(networks, name))
        for name, field in storage.RUN_FIELDS.items()
    }
    checkpoint = tf.train.Checkpoint(cur_nimg=tf.Variable(7, dtype=tf.int64), **fields)
    checkpoints.write(checkpoint, tmp_path / config_lib.CHECKPOINTS, 7, keep=1)
    check_equal(storage.load_networks(tmp_path), networks)


def test_saved_model_keeps_a_fade(networks, tmp_path):
    path = export.export_saved_model(networks, tmp_path)
    served = tf.saved_model.load(str(path)).signatures["synthesis"]
    ws = latents()
    images = networks.G_ema.synthesis(ws, noise_mode="const").numpy()
    expected = np.clip(np.floor(images * 127.5 + 128), 0, 255)
    got = served(ws=tf.constant(ws))["images"].numpy()
    assert np.max(np.abs(got - expected)) <= 1


def test_two_replicas_grow_together():
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        g, d = synthesis_of("adain"), discriminator_of("stylegan")
    ws = latents()

    @tf.function
    def logits(ws):
        both = strategy.run(lambda ws: d(g(ws, noise_mode="const")), args=(ws,))
        return strategy.experimental_local_results(both)

    for lod in (1.5, 1.25):
        for network in (g, d):
            network.grow(lod)
        expected = d(g(ws, noise_mode="const")).numpy()
        for part in logits(ws):
            assert relative(part.numpy(), expected) < 1e-4
    assert logits.experimental_get_tracing_count() == 1
