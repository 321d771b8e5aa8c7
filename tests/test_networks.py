"""What holds for every network: conformance, labels, truncation, noise, seeds."""

import dataclasses
import inspect
import itertools
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfstylegan import config as config_lib
from tfstylegan import rng
from tfstylegan.networks import (
    adain_blocks,
    build,
    discriminator_blocks,
    generator,
    label_projection,
    mapping,
    modulated_blocks,
    normalized_blocks,
    synthesis_skip,
    synthesis_trunk,
)

ARCHITECTURES = ("orig", "skip", "resnet")
# Other blocks: StyleGAN2's figure 2c, StyleGAN, ProGAN (StyleGAN's table 1, row A).
PROGAN = {"styles": False, "noise": False, "const_input": False, "pixel_norm": True}
STYLEGAN = {"architecture": "growing", "resample_kernel": (1, 2, 1)}
FAMILIES = {
    **{
        name: ({"architecture": name}, {"architecture": name}) for name in ARCHITECTURES
    },
    "growing": ({"architecture": "growing"}, {"architecture": "growing"}),
    "normalized": ({"block": "normalized"}, {}),
    "adain": ({**STYLEGAN, "block": "adain"}, {**STYLEGAN, "block": "stylegan"}),
    "spectral": (
        {**STYLEGAN, "block": "adain", "spectral_norm": True},
        {"spectral_norm": True},
    ),
    "progan": (
        {**STYLEGAN, **PROGAN, "block": "adain", "resample_kernel": (1,)},
        {**STYLEGAN, "block": "stylegan", "resample_kernel": (1,)},
    ),
}
LABELS = 3
Z, W = 5, 6


def small_config(family="skip", conditioning="stylegan2", **data):
    config = config_lib.Config()
    config.data.resolution = 16
    config.generator.z_dim, config.generator.w_dim = Z, W
    config.generator.mapping_layers = config.discriminator.mapping_layers = 2
    networks = (config.generator, config.discriminator)
    for network, options in zip(networks, FAMILIES[family], strict=True):
        network.conditioning = conditioning
        network.fmap_base, network.fmap_max = 64, 8
        for name, value in options.items():
            setattr(network, name, value)
    if conditioning == "progan":
        config.discriminator.conditioning = "stylegan2"
    for name, value in data.items():
        setattr(config.data, name, value)
    return config.validate()


def random_weights(network):
    """Gives every weight other numbers than it starts with, but keeps the lod."""
    for variable in network.weights:
        if variable.name != "lod":
            variable.assign(np.random.normal(size=variable.shape))


def latents(count=4):
    return np.random.normal(size=(count, Z)).astype(np.float32)


def one_hot(*classes):
    return np.eye(LABELS, dtype=np.float32)[list(classes)]


NETWORKS = [
    (kind, architecture, conditioning)
    for kind in ("generator", "discriminator")
    for architecture in ARCHITECTURES
    for conditioning in (None, "stylegan2", "ada")
] + [
    ("generator", "growing", None),
    ("generator", "normalized", None),
    ("generator", "adain", "stylegan2"),
    ("generator", "progan", "progan"),
    ("discriminator", "growing", None),
    ("discriminator", "adain", "stylegan2"),
    ("generator", "spectral", None),
    ("discriminator", "spectral", "stylegan2"),
]


class Case:
    """One network with its inputs; growing ones are in the middle of a fade."""

    def __init__(self, kind, family, conditioning):
        config = small_config(family, conditioning or "stylegan2")
        label_dim = LABELS if conditioning else 0
        make = getattr(build, f"build_{kind}")
        self.network = make(config, label_dim)
        self.lods = [0]
        if getattr(config, kind).architecture == "growing":
            self.lods = [1.5, 0.5]  # together they use every weight
            self.network.grow(0.5)
        self.options = {"noise_mode": "const"} if kind == "generator" else {}
        first = latents() if kind == "generator" else np.random.normal(size=IMAGES)
        self.inputs = [tf.constant(first, tf.float32)]
        if conditioning:
            self.inputs.append(tf.constant(one_hot(0, 2, 1, 2)))
        self.output_shape = IMAGES if kind == "generator" else (4, 1)

    def __call__(self, network=None, inputs=None):
        network = network or self.network
        return network(*(inputs or self.inputs), **self.options)


IMAGES = (4, 16, 16, 3)


@pytest.fixture(params=NETWORKS, ids=lambda case: "-".join(map(str, case)))
def case(request):
    result = Case(*request.param)
    random_weights(result.network)
    return result


def test_conformance_config_round_trip(case):
    config = case.network.get_config()
    again = type(case.network).from_config(config)
    assert config == case.network.get_config()  # from_config left it alone
    assert again.get_config() == config
    again.set_weights(case.network.get_weights())
    np.testing.assert_array_equal(case(again), case())
    assert [v.path for v in again.weights] == [v.path for v in case.network.weights]


def test_conformance_saved_and_loaded_bit_for_bit(case, tmp_path):
    case.network.save(tmp_path / "network.keras")
    again = keras.saving.load_model(tmp_path / "network.keras")
    assert type(again) is type(case.network)
    for ours, theirs in zip(case.network.weights, again.weights, strict=True):
        assert ours.path == theirs.path and ours.trainable == theirs.trainable
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
    np.testing.assert_array_equal(case(again), case())


def test_conformance_shape_and_dtype(case):
    y = case()
    assert y.shape == case.output_shape and y.dtype == tf.float32
    shapes = [x.shape for x in case.inputs]
    assert tuple(case.network.compute_output_shape(*shapes)) == case.output_shape
    unknown = [(None, *shape[1:]) for shape in shapes]
    shape = case.network.compute_output_shape(*unknown)
    assert tuple(shape) == (None, *case.output_shape[1:])
    assert np.std(y.numpy()) > 0


def test_conformance_graph_of_unknown_batch(case):
    signature = [tf.TensorSpec([None, *x.shape[1:]], x.dtype) for x in case.inputs]
    in_graph = tf.function(lambda *xs: case(inputs=xs), input_signature=signature)
    assert in_graph.get_concrete_function().output_shapes[1:] == case.output_shape[1:]
    scale = np.max(np.abs(case()))
    np.testing.assert_allclose(in_graph(*case.inputs), case(), atol=1e-5 * scale)
    two = [x[:2] for x in case.inputs]
    np.testing.assert_allclose(in_graph(*two), case(inputs=two), atol=1e-5 * scale)


def test_conformance_every_weight_matters(case):
    """Each trainable weight has a gradient: none is made and then left out."""
    variables = case.network.trainable_variables
    left_out = {variable.path for variable in variables}
    for lod in case.lods:
        case.network.grow(lod)
        with tf.GradientTape() as tape:
            y = case()
            total = tf.reduce_sum(y * np.random.normal(size=y.shape))
        gradients = tape.gradient(total, [variable.value for variable in variables])
        for variable, gradient in zip(variables, gradients, strict=True):
            if gradient is not None and np.any(gradient != 0):
                left_out.discard(variable.path)
    assert not left_out


def test_conformance_labels_are_needed_and_used(case):
    if len(case.inputs) == 1:
        return
    with pytest.raises(ValueError, match=r"labels must be \[N, 3\]; got None"):
        case(inputs=case.inputs[:1])
    others = tf.roll(case.inputs[1], 1, axis=1)
    difference = case(inputs=[case.inputs[0], others]) - case()
    axes = tuple(range(1, len(case.output_shape)))
    assert np.all(np.max(np.abs(difference), axis=axes) > 0)


def test_conformance_loads_in_a_fresh_process(tmp_path):
    """Importing `networks.build` registers all that a saved network needs."""
    case = Case("generator", "resnet", "ada")
    random_weights(case.network)
    case.network.save(tmp_path / "g.keras")
    np.savez(tmp_path / "inputs.npz", *case.inputs)
    code = f"""
import keras, numpy as np
import tfstylegan.networks.build
inputs = np.load({str(tmp_path / "inputs.npz")!r})
g = keras.saving.load_model({str(tmp_path / "g.keras")!r})
images = g(inputs["arr_0"], inputs["arr_1"], noise_mode="const")
np.save({str(tmp_path / "images.npy")!r}, images)
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    # Another process may sum in another order: two logical CPU devices here, one there.
    expected = case().numpy()
    got = np.load(tmp_path / "images.npy")
    np.testing.assert_allclose(got, expected, atol=1e-6 * np.max(np.abs(expected)))


PARTS = {
    "mapping": (
        lambda: mapping.Mapping(z_dim=5, w_dim=6, num_ws=4, num_layers=2, seed=1),
        [(4, 5)],
    ),
    "mapping_ada": (
        lambda: mapping.Mapping(
            z_dim=5, num_ws=4, w_dim=6, label_dim=3, conditioning="ada", lr_mul=0.1
        ),
        [(4, 5), (4, 3)],
    ),
    "styled_conv": (
        lambda: modulated_blocks.StyledConv(6, gain=0.9, seed=1),
        [(4, 3, 5, 7), (4, 6), (4, 3, 5, 1)],
    ),
    "styled_conv_up": (
        lambda: modulated_blocks.StyledConv(6, up=True, resample_kernel=(1, 2, 1)),
        [(4, 3, 5, 7), (4, 6), (1, 6, 10, 1)],
    ),
    "normalized_conv": (
        lambda: normalized_blocks.NormalizedConv(6, up=True, seed=1),
        [(4, 3, 5, 7), (4, 6), (4, 6, 10, 1)],
    ),
    "adain_start": (
        lambda: adain_blocks.AdainStart((3, 5, 7), seed=1),
        [(4, 6), (1, 3, 5, 1)],
    ),
    "dense_start": (
        lambda: adain_blocks.AdainStart((3, 5, 7), const_input=False, seed=1),
        [(4, 6), (4, 3, 5, 1)],
    ),
    "adain_conv": (
        lambda: adain_blocks.AdainConv(6, pixel_norm=True, seed=1),
        [(4, 3, 5, 7), (4, 6), (4, 3, 5, 1)],
    ),
    "adain_conv_up": (
        lambda: adain_blocks.AdainConv(6, up=True, use_noise=False, seed=1),
        [(4, 3, 5, 7), (4, 6), (4, 6, 10, 1)],
    ),
    "plain_to_rgb": (
        lambda: adain_blocks.PlainToRGB(3, seed=1),
        [(4, 3, 5, 7), (4, 6)],
    ),
    "to_rgb": (lambda: modulated_blocks.ToRGB(3, seed=1), [(4, 3, 5, 7), (4, 6)]),
    "synthesis": (
        lambda: synthesis_skip.SkipSynthesis(
            w_dim=6, base_grid=(3, 2), doublings=1, channels=2, fmap_max=4, seed=1
        ),
        [(4, 4, 6)],
    ),
    "label_projection": (
        lambda: label_projection.LabelProjection(num_layers=1, seed=1),
        [(4, 6), (4, 3)],
    ),
}


@pytest.mark.parametrize("name", PARTS)
def test_conformance_parts(name):
    make, shapes = PARTS[name]
    part = make()
    inputs = [tf.random.stateless_normal(shape, [3, 4]) for shape in shapes]
    options = {"noise_mode": "const"} if name == "synthesis" else {}
    y = part(*inputs, **options)
    assert tuple(part.compute_output_shape(*shapes)) == tuple(y.shape)
    random_weights(part)
    again = type(part).from_config(part.get_config())
    assert again.get_config() == part.get_config()
    again(*inputs, **options)
    again.set_weights(part.get_weights())
    y = part(*inputs, **options)
    np.testing.assert_array_equal(again(*inputs, **options), y)
    unknown = [tf.TensorSpec([None, *shape[1:]]) for shape in shapes]
    in_graph = tf.function(lambda *xs: part(*xs, **options), input_signature=unknown)
    atol = 1e-5 * np.max(np.abs(y))
    np.testing.assert_allclose(in_graph(*inputs), y, atol=atol)


@pytest.mark.parametrize(
    "cls",
    [
        generator.Generator,
        mapping.Mapping,
        modulated_blocks.StyledConv,
        modulated_blocks.ToRGB,
        label_projection.LabelProjection,
        synthesis_trunk.SynthesisTrunk,
        discriminator_blocks.DiscriminatorTrunk,
    ],
)
def test_conformance_config_holds_every_argument(cls):
    g = build.build_generator(small_config(), LABELS)
    d = build.build_discriminator(small_config(conditioning="ada"), LABELS)
    parts = [g, g.mapping, g.synthesis, g.synthesis.convs[0], g.synthesis.to_rgb[0]]
    (part,) = [part for part in (*parts, d, d.output_layer) if isinstance(part, cls)]
    arguments = set(inspect.signature(cls.__init__).parameters)
    assert arguments - {"self", "kwargs"} <= set(part.get_config())


# Every field of the configuration.


def test_build_passes_every_field_on():
    config = small_config(base_grid=(3, 5), resolution=12, channels=2)
    fields = {
        "conditioning": "ada",
        "mapping_layers": 3,
        "fmap_base": 40,
        "fmap_min": 2,
        "fmap_max": 7,
        "resample_kernel": (1, 2, 1),
    }
    for name, value in fields.items():
        setattr(config.generator, name, value)
        setattr(config.discriminator, name, value)
    config.generator.mapping_lr_mul = 0.5
    config.generator.w_avg_decay = 0.9
    config.generator.mapping_act = "linear"
    config.discriminator.mbstd_group_size = 2
    config.discriminator.mbstd_num_features = 7
    config.generator.conv_clamp, config.discriminator.conv_clamp = 5.0, 6.0
    config.precision.dtype, config.precision.num_fp16_res = "bfloat16", 3
    g = build.build_generator(config.validate(), LABELS)
    d = build.build_discriminator(config, LABELS)
    sections = {
        g: [config.generator, {"w_avg_decay"}],
        g.mapping: [config.generator, {"z_dim", "w_dim", "conditioning"}],
        g.synthesis: [
            config.generator,
            {"w_dim", "fmap_base", "fmap_min", "fmap_max", "resample_kernel"}
            | {"conv_clamp"},
        ],
        d: [
            config.discriminator,
            {field.name for field in dataclasses.fields(config.discriminator)}
            - {"architecture", "freeze_layers"},  # that is of training
        ],
    }
    for part, (section, names) in sections.items():
        for name in names:
            assert part.get_config()[name] == getattr(section, name), name
    for part in (g.synthesis, d):
        assert (part.half_dtype, part.num_fp16_res) == ("bfloat16", 3)
    for part in (g.synthesis, d):
        assert (part.base_grid, part.doublings, part.channels) == ((3, 5), 2, 2)
    assert (g.mapping.num_layers, g.mapping.lr_mul) == (3, 0.5)
    assert (g.mapping.act, g.mapping.gain_in_kernel) == ("linear", False)
    assert g.mapping.label_dim == d.label_dim == LABELS
    assert d.stddev.group_size == 2 and d.stddev.num_features == 7
    assert g.synthesis.widths == d.widths == [7, 7, 5]


def refused(work):
    try:
        work()
    except ValueError:
        return True
    return False


@pytest.mark.parametrize("grid", [(4, 4), (3, 5)])
def test_config_refuses_the_stddev_features_that_the_network_refuses(grid):
    verdicts = []
    for number in range(1, 9):
        config = small_config(base_grid=grid, resolution=2 * grid[0])
        config.discriminator.fmap_max = 6
        config.discriminator.mbstd_num_features = number
        verdict = refused(config.validate)
        assert refused(lambda c=config: build.build_discriminator(c)) == verdict
        verdicts.append(verdict)
    assert any(verdicts) and not all(verdicts)


def test_build_passes_the_options_of_blocks_on():
    config = small_config("adain")
    for name in ("styles", "noise", "const_input", "pixel_norm"):
        setattr(config.generator, name, False)
    blocks = build.build_generator(config.validate()).synthesis.blocks
    assert blocks == adain_blocks.AdainBlocks(False, False, False, False, False)
    config.generator.styles = config.generator.pixel_norm = True
    config.generator.spectral_norm = True
    g = build.build_generator(config.validate())
    expected = adain_blocks.AdainBlocks(True, False, False, True, True)
    assert g.synthesis.blocks == expected
    assert g.mapping.gain_in_kernel
    assert [conv.resample_kernel for conv in g.synthesis.up_convs] == [(1, 2, 1)] * 2
    assert all(conv.spectral_norm for conv in g.synthesis.convs)
    d = build.build_discriminator(config)
    assert [conv.blur_kernel for conv in d.down_convs] == [(1, 2, 1)] * 2


@pytest.mark.parametrize("conditioning", ["stylegan2", "ada", "progan"])
@pytest.mark.parametrize("label_dim", [0, LABELS])
@pytest.mark.parametrize("w_dim", [Z, W])
def test_config_refuses_the_mappings_that_the_network_refuses(
    conditioning, label_dim, w_dim
):
    verdicts = []
    for layers in (0, 1):
        config = small_config(conditioning=conditioning, labels=bool(label_dim))
        config.generator.w_dim = w_dim
        config.generator.mapping_layers = layers
        verdict = refused(config.validate)
        make = build.build_generator
        assert refused(lambda c=config, m=make: m(c, label_dim)) == verdict
        verdicts.append(verdict)
    embedded = bool(label_dim) and conditioning != "progan"
    assert verdicts == [embedded or w_dim != Z, False]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_config_extremes_make_networks_that_run(architecture):
    """What `validate` lets pass, however odd, gives an image and a logit."""
    extremes = {
        "conditioning": "ada",
        "fmap_base": 10**400,
        "fmap_min": 3,
        "fmap_max": 3,
        "mapping_layers": 0,
        "resample_kernel": (0, 1, -3),
    }
    config = small_config(architecture, base_grid=(1, 1), resolution=2, channels=1)
    for section in (config.generator, config.discriminator):
        for name, value in extremes.items():
            setattr(section, name, value)
    config.generator.z_dim = config.generator.w_dim = 1
    config.discriminator.mbstd_num_features = 3
    config.validate()
    images = build.build_generator(config)(np.ones([2, 1], np.float32))
    assert images.shape == (2, 2, 2, 1)
    labels = one_hot(0, 2)
    logits = build.build_discriminator(config, LABELS)(images, labels)
    assert logits.shape == (2, 1) and np.all(np.isfinite(logits))


@pytest.mark.parametrize("architecture", build.DISCRIMINATORS)
def test_discriminator_is_built_by_its_constructor(architecture):
    """Once: whatever is asked of it later, no weight is made again."""
    d = build.DISCRIMINATORS[architecture](doublings=1, fmap_max=4)
    assert d.built
    paths = [variable.path for variable in d.variables]
    assert len(set(paths)) == len(paths) > 6
    d(np.zeros([2, 8, 8, 3], np.float32))
    assert [variable.path for variable in d.variables] == paths


def test_groups_of_zero_switch_minibatch_stddev_off():
    config = small_config()
    config.discriminator.mbstd_group_size = 0
    d = build.build_discriminator(config.validate())
    images = np.random.normal(size=(6, 16, 16, 3)).astype(np.float32)
    together = d(images).numpy()
    alone = np.concatenate([d(images[n : n + 1]).numpy() for n in range(6)])
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-6)
    d = build.build_discriminator(small_config())
    assert np.any(d(images[:4]).numpy()[0] != d(images[:1]).numpy()[0])
    with pytest.raises(ValueError, match="multiple of group_size 4; got 6"):
        d(images)


# Image sizes and channels.


@pytest.mark.parametrize(
    "grid, resolution, channels, size",
    [
        ((4, 6), 32, 3, (32, 48)),
        ((3, 5), 12, 1, (12, 20)),
        ((5, 3), 10, 2, (10, 6)),
        ((4, 4), 8, 4, (8, 8)),
        ((1, 2), 8, 3, (8, 16)),
    ],
)
@pytest.mark.parametrize("family", [*ARCHITECTURES, "adain", "progan"])
def test_any_doubled_grid_and_channels(family, grid, resolution, channels, size):
    config = small_config(
        family, base_grid=grid, resolution=resolution, channels=channels
    )
    g, d = build.build_generator(config), build.build_discriminator(config)
    images = g(latents())
    assert images.shape == (4, *size, channels)
    assert d(images).shape == (4, 1)
    if family == "progan":
        assert g.synthesis.noise_sizes == []
        return
    heights = [h for h, _ in g.synthesis.noise_sizes]
    widths = [w for _, w in g.synthesis.noise_sizes]
    assert (heights[0], widths[0]) == grid and (heights[-1], widths[-1]) == size


# Mapping and labels.


def dense(layer, x, gain_in_kernel=False):
    """Mapping layer in NumPy, lr_mul 0.01."""
    kernel, bias = layer.kernel.numpy(), layer.bias.numpy()
    y = x @ kernel * 0.01 / np.sqrt(x.shape[1])
    if gain_in_kernel:
        y = y * np.sqrt(2) + bias * 0.01
        return np.where(y < 0, 0.2 * y, y)
    y = y + bias * 0.01
    return np.where(y < 0, 0.2 * y, y) * np.sqrt(2)


def unit_power(x):
    return x / np.sqrt(np.mean(x**2, axis=1, keepdims=True) + 1e-8)


@pytest.mark.parametrize(
    "conditioning, family",
    [(None, "skip"), ("stylegan2", "skip"), ("ada", "skip"), ("progan", "adain")],
)
def test_oracle_mapping(conditioning, family):
    config = small_config(family, conditioning or "stylegan2")
    g = build.build_generator(config, LABELS if conditioning else 0)
    random_weights(g)
    z, labels = latents().astype(np.float64), one_hot(0, 2, 1, 2)
    if conditioning is None:
        x, labels = unit_power(z), None
    elif conditioning == "stylegan2":
        embedded = labels @ g.mapping.embedding.numpy()
        x = unit_power(np.concatenate([z, embedded], axis=1))
    elif conditioning == "progan":
        x = unit_power(np.concatenate([z, labels], axis=1))
    else:
        embed = g.mapping.embed
        embedded = labels @ embed.kernel.numpy() / np.sqrt(3) + embed.bias.numpy()
        x = np.concatenate([unit_power(z), unit_power(embedded)], axis=1)
    for layer in g.mapping.dense:
        x = dense(layer, x, family == "adain")
    ws = g.mapping(z.astype(np.float32), labels).numpy()
    assert len(g.mapping.dense) == 2 and ws.shape == (4, 6, W)
    for layer in range(6):
        np.testing.assert_allclose(ws[:, layer], x, rtol=1e-4, atol=1e-6)


def test_mapping_without_layers_gives_the_normalised_z():
    config = small_config()
    config.generator.mapping_layers, config.generator.w_dim = 0, Z
    g = build.build_generator(config.validate())
    z = latents()
    np.testing.assert_allclose(g.mapping(z)[:, 3], unit_power(z), rtol=1e-5)
    with pytest.raises(ValueError, match="num_layers must be at least 1 with labels"):
        build.build_generator(config, LABELS)
    config.generator.conditioning = "progan"
    g, labels = build.build_generator(config.validate(), LABELS), one_hot(0, 2, 1, 2)
    expected = unit_power(np.concatenate([z, labels], axis=1))
    np.testing.assert_allclose(g.mapping(z, labels)[:, 3], expected, rtol=1e-5)
    assert g(z, labels).shape == IMAGES


def test_linear_mapping_is_an_affine_map_of_the_normalised_z():
    config = small_config("adain")
    config.generator.mapping_act = "linear"
    g = build.build_generator(config.validate())
    random_weights(g)
    z = unit_power(latents(8).astype(np.float64)).astype(np.float32)
    ones = np.concatenate([z, np.ones([8, 1])], axis=1)  # of rank Z + 1 = 6
    w = g.mapping(z)[:, 0].numpy()
    affine, *_ = np.linalg.lstsq(ones, w, rcond=None)
    np.testing.assert_allclose(ones @ affine, w, atol=1e-5 * np.max(np.abs(w)))
    assert np.std(w, axis=0).min() > 0


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_stylegan2_labels_choose_the_logit(architecture):
    """Class logits are those of an unconditional network with that output column."""
    config = small_config(architecture)
    d = build.build_discriminator(config, LABELS)
    plain = build.build_discriminator(config)
    random_weights(d)
    images = np.random.normal(size=IMAGES).astype(np.float32)
    logits = []
    for column in range(LABELS):
        weights = d.get_weights()
        output = d.output_layer.kernel.path, d.output_layer.bias.path
        weights = [
            value[..., column : column + 1] if variable.path in output else value
            for variable, value in zip(d.weights, weights, strict=True)
        ]
        plain.set_weights(weights)
        logits.append(plain(images).numpy()[:, 0])
    classes = (0, 2, 1, 2)
    expected = [logits[k][n] for n, k in enumerate(classes)]
    got = d(images, one_hot(*classes)).numpy()[:, 0]
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    mixed = np.tile(np.float32([[0.5, -1, 2]]), [4, 1])
    expected = 0.5 * logits[0] - logits[1] + 2 * logits[2]
    scale = np.max(np.abs(logits))
    np.testing.assert_allclose(d(images, mixed)[:, 0], expected, atol=1e-5 * scale)


def test_integer_labels_count_as_floats():
    g = build.build_generator(small_config(), LABELS)
    labels = one_hot(0, 2, 1, 2)
    ws = g.mapping(latents() * 0 + 1, labels.astype(np.int64))
    np.testing.assert_array_equal(ws, g.mapping(latents() * 0 + 1, labels))


# Truncation and style mixing.


@pytest.fixture(scope="module")
def g():
    network = build.build_generator(small_config())
    np.random.seed(0)
    random_weights(network)
    for layer in network.mapping.dense:  # the multiplier 0.01 leaves z little effect
        layer.kernel.assign(layer.kernel * 100)
    return network


def truncated(ws, w_avg, psi, cutoff):
    ws = np.array(ws, np.float64)
    for layer in range(ws.shape[1] if cutoff is None else min(cutoff, ws.shape[1])):
        ws[:, layer] = w_avg + psi * (ws[:, layer] - w_avg)
    return ws.astype(np.float32)


@pytest.mark.parametrize("psi", [0.0, 0.5, 1.0, -1.0, 1.3])
@pytest.mark.parametrize("cutoff", [None, 0, 1, 4, 6, 99])
@pytest.mark.parametrize("as_tensor", [False, True])
def test_oracle_truncation(g, psi, cutoff, as_tensor):
    z = latents()
    ws = truncated(g.mapping(z), g.w_avg.numpy(), psi, cutoff)
    expected = g.synthesis(ws, noise_mode="none").numpy()
    if as_tensor:
        psi = tf.constant(psi)
        cutoff = None if cutoff is None else tf.constant(cutoff)
    images = g(z, truncation_psi=psi, truncation_cutoff=cutoff, noise_mode="none")
    atol = 1e-4 * np.max(np.abs(expected))
    np.testing.assert_allclose(images, expected, atol=atol)


def test_truncation_psi_is_an_input_of_a_graph(g):
    in_graph = tf.function(
        lambda z, psi: g(z, truncation_psi=psi, noise_mode="none"),
        input_signature=[tf.TensorSpec([None, Z]), tf.TensorSpec([])],
    )
    z = latents()
    for psi in (0.3, 1.0):
        expected = g(z, truncation_psi=psi, noise_mode="none").numpy()
        atol = 1e-4 * np.max(np.abs(expected))
        np.testing.assert_allclose(in_graph(z, psi), expected, atol=atol)


def test_truncation_to_zero_gives_one_image(g):
    images = g(latents(), truncation_psi=0, noise_mode="const").numpy()
    scale = np.max(np.abs(images))
    np.testing.assert_allclose(images[1:], images[:-1], atol=1e-6 * scale)
    others = g(latents(), noise_mode="const").numpy()
    assert np.max(np.abs(others[1:] - others[:-1])) > 1e-2 * scale


def test_mix_styles_takes_the_first_layers_from_the_first():
    a, b = np.random.normal(size=(2, 3, 6, W)).astype(np.float32)
    for cutoff in range(7):
        expected = np.concatenate([a[:, :cutoff], b[:, cutoff:]], axis=1)
        for value in (cutoff, tf.constant(cutoff)):
            mixed = generator.mix_styles(a, b, value)
            np.testing.assert_array_equal(mixed, expected)


def test_w_avg_follows_the_mean_over_the_batch():
    config = small_config()
    config.generator.w_avg_decay = 0.75
    network = build.build_generator(config)
    np.testing.assert_array_equal(network.w_avg.numpy(), np.zeros(W))
    expected = np.zeros(W)
    for _ in range(3):
        ws = np.random.normal(size=(5, 6, W)).astype(np.float32)
        network.track_w_avg(tf.constant(ws))
        mean = sum(ws[n, 0].astype(np.float64) for n in range(5)) / 5
        expected = 0.75 * expected + 0.25 * mean
        np.testing.assert_allclose(network.w_avg.numpy(), expected, rtol=1e-5)
    assert "w_avg" not in {v.name for v in network.trainable_variables}


def test_calls_change_no_weight(g):
    before = g.get_weights()
    g(latents(), truncation_psi=0.5)
    g.synthesis(g.mapping(latents()))
    for old, new in zip(before, g.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


# Noise.


def test_noise_random_is_fresh_unless_seeded(g):
    z = np.repeat(latents(1), 4, axis=0)
    a, b = g(z).numpy(), g(z).numpy()
    assert np.mean(a != b) > 0.99
    for one, other in itertools.combinations(a, 2):
        assert np.mean(one != other) > 0.99  # each sample has noise of its own
    first = g(z, seed=rng.seed(1, "noise"))
    np.testing.assert_array_equal(first, g(z, seed=rng.seed(1, "noise")))
    assert np.mean(first.numpy() != g(z, seed=rng.seed(2, "noise")).numpy()) > 0.99


def test_noise_random_is_fresh_at_every_call_of_a_graph(g):
    z = latents()
    in_graph = tf.function(lambda: g(z))
    assert np.mean(in_graph().numpy() != in_graph().numpy()) > 0.99


def test_noise_const_is_the_stored_maps_and_none_is_no_noise(g):
    ws = g.mapping(latents())
    const = g.synthesis(ws, noise_mode="const").numpy()
    np.testing.assert_array_equal(const, g.synthesis(ws, noise_mode="const"))
    convs = [g.synthesis.convs[0]]
    for pair in zip(g.synthesis.up_convs, g.synthesis.convs[1:], strict=True):
        convs += pair
    maps = [conv.noise.fixed.numpy() for conv in convs]
    np.testing.assert_allclose(g.synthesis(ws, noise=maps), const, rtol=1e-6)
    none = g.synthesis(ws, noise_mode="none").numpy()
    zeros = [np.zeros_like(fixed) for fixed in maps]
    np.testing.assert_allclose(g.synthesis(ws, noise=zeros), none, rtol=1e-6)
    assert np.mean(none != const) > 0.99


def test_drawn_noise_is_standard_normal_and_other_at_each_layer(g):
    maps = g.synthesis.draw_noise(300, rng.seed(3, "noise"))
    sizes = [(4, 4), (8, 8), (8, 8), (16, 16), (16, 16)]
    assert [m.shape for m in maps] == [(300, *size, 1) for size in sizes]
    for values in (m.numpy() for m in maps):
        assert abs(np.mean(values)) < 5 / np.sqrt(values.size)
        assert abs(np.var(values) - 1) < 5 * np.sqrt(2 / values.size)
    assert not np.any(maps[1].numpy() == maps[2].numpy())


def test_noise_mode_is_checked(g):
    with pytest.raises(ValueError, match="random, const, none; got 'fixed'"):
        g(latents(), noise_mode="fixed")


@pytest.mark.parametrize("family", [*ARCHITECTURES, "normalized", "adain"])
def test_untrained_images_depend_on_w_only(family):
    """Noise strengths start at 0; biases of the image at 0."""
    network = build.build_generator(small_config(family))
    z = latents()
    expected = network(z, noise_mode="none").numpy()
    for mode in ("const", "random"):
        np.testing.assert_array_equal(network(z, noise_mode=mode), expected)
    assert np.std(expected, axis=0).max() > 1e-3
    large = build.build_generator(small_config(family, resolution=64, channels=8))
    images = large(latents(16)).numpy()
    assert abs(np.mean(images)) < 0.5 * np.std(images)


# Seeds.


def both(seed, family="resnet"):
    config = small_config(family)
    config.seed = seed
    return [*build.build_generator(config, 3).weights] + [
        *build.build_discriminator(config, 3).weights
    ]


@pytest.mark.parametrize("family", [*ARCHITECTURES, "adain", "progan"])
def test_seed_decides_every_weight(family):
    first, again, other = (both(seed, family) for seed in (1, 1, 2))
    drawn = 0
    for a, b, c in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
        if np.ptp(a.numpy()) > 0:
            assert not np.any(a.numpy() == c.numpy()), a.path
            drawn += 1
        else:
            assert a.name in ("bias", "strength", "w_avg", "lod", "const"), a.path
    assert drawn > 20


@pytest.mark.parametrize("family", [*ARCHITECTURES, "adain", "progan"])
def test_no_two_weights_share_their_numbers(family):
    """Not even scaled: a repeated seed would make layers copies of one another."""
    flat = [(w.path, w.numpy().ravel()) for w in both(1, family)]
    flat = [(path, x) for path, x in flat if x.size >= 16 and np.ptp(x) > 0]
    for (path_a, a), (path_b, b) in itertools.combinations(flat, 2):
        size = min(a.size, b.size)
        correlation = np.corrcoef(a[:size], b[:size])[0, 1]
        assert abs(correlation) < 0.95, (path_a, path_b)


# Precision.


@pytest.fixture
def policy():
    before = keras.config.dtype_policy()
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy(before)


POLICIES = ("mixed_float16", "mixed_bfloat16", "float64")


@pytest.mark.parametrize(
    "family, name",
    [
        *itertools.product(ARCHITECTURES, POLICIES),
        ("adain", "mixed_float16"),
        ("normalized", "mixed_bfloat16"),
        ("progan", "mixed_float16"),
        ("growing", "float64"),
    ],
)
def test_dtype_policy_reaches_every_part(policy, tmp_path, family, name):
    config = small_config(family, "ada")
    reference = build.build_generator(config, LABELS)
    judge = build.build_discriminator(config, LABELS)
    policy(name)
    network = build.build_generator(config, LABELS)
    network.set_weights(reference.get_weights())
    critic = build.build_discriminator(config, LABELS)
    critic.set_weights(judge.get_weights())
    z, labels = latents(), one_hot(0, 1, 2, 0)
    expected = reference(z, labels).numpy()
    images = network(z, labels)
    compute = keras.DTypePolicy(name).compute_dtype
    assert images.dtype == compute
    coarse = {"float16": 0.02, "bfloat16": 0.2, "float64": 1e-4}[compute]
    error = np.abs(tf.cast(images, tf.float64) - expected)
    assert np.max(error) < coarse * np.max(np.abs(expected))
    logits = critic(images, labels)
    assert logits.dtype == compute
    assert np.all(np.isfinite(tf.cast(logits, tf.float64)))
    network.track_w_avg(network.mapping(z, labels))
    assert np.any(network.w_avg.numpy() != 0)
    # Loaded where another policy rules, it keeps its own in all its parts.
    network.save(tmp_path / "g.keras")
    policy("float32")
    again = keras.saving.load_model(tmp_path / "g.keras")
    np.testing.assert_array_equal(
        tf.cast(again(z, labels), tf.float64),
        tf.cast(network(z, labels), tf.float64),
    )
    assert {w.dtype for w in again.weights} == {w.dtype for w in network.weights}


# Errors.


def test_wrong_arguments_are_named():
    config = small_config()
    small = build.build_generator(config)
    large = build.build_generator(small_config(resolution=32))
    with pytest.raises(ValueError, match="synthesis.num_ws = 8; got 6"):
        generator.Generator(small.mapping, large.synthesis)
    with pytest.raises(ValueError, match="doublings must be at least 1; got 0"):
        synthesis_skip.SkipSynthesis(doublings=0)
    with pytest.raises(ValueError, match="doublings must be at least 1; got 0"):
        build.DISCRIMINATORS["orig"](doublings=0)
    with pytest.raises(ValueError, match="conditioning must be .*got 'acgan'"):
        mapping.Mapping(num_ws=2, conditioning="acgan")
    with pytest.raises(ValueError, match="conditioning must be .*got 'acgan'"):
        build.DISCRIMINATORS["skip"](conditioning="acgan")


@pytest.mark.parametrize("label_dim, shape", [(0, (2, 3)), (3, (2, 4)), (3, (2,))])
def test_labels_that_do_not_fit_are_an_error(label_dim, shape):
    config = config_lib.Config()
    config.data.resolution = 8
    config.generator.fmap_max = config.discriminator.fmap_max = 4
    g = build.build_generator(config, label_dim)
    d = build.build_discriminator(config, label_dim)
    wrong = tf.zeros(shape)
    with pytest.raises(ValueError, match="labels"):
        g.mapping(tf.zeros([2, config.generator.z_dim]), wrong)
    with pytest.raises(ValueError, match="labels"):
        d(tf.zeros([2, 8, 8, 3]), wrong)
