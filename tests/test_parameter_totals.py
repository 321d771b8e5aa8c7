"""Published parameter totals, and complete lists of variables."""

import json
import math

import manifests
import numpy as np
import pytest
from manifests import manifest

from tfstylegan import config as config_lib
from tfstylegan.networks import build

FMAP_BASE = {"E": 8192, "F": 16384}


def total(variables):
    return sum(int(np.prod(variable.shape)) for variable in variables)


@pytest.fixture
def config():
    with manifests.zeros():
        yield config_lib.Config()


GENERATORS = [
    ("F", 1024, "orig", 28_817_908),
    ("F", 1024, "skip", 30_370_060),
    ("F", 1024, "resnet", 30_040_564),
    ("F", 512, "skip", 30_276_583),
    ("F", 256, "skip", 30_034_338),
    ("E", 1024, "orig", 23_596_292),
    ("E", 1024, "skip", 24_900_764),
    ("E", 1024, "resnet", 24_557_316),
    ("E", 512, "skip", 24_860_935),
    ("E", 256, "skip", 24_767_458),
]


@pytest.mark.parametrize("row, resolution, architecture, expected", GENERATORS)
def test_generator_parameters(config, row, resolution, architecture, expected):
    config.data.resolution = resolution
    config.generator.architecture = architecture
    config.generator.fmap_base = FMAP_BASE[row]
    g = build.build_generator(config.validate())
    assert total(g.trainable_variables) == expected
    assert total(g.mapping.trainable_variables) == 2_101_248
    levels = int(np.log2(resolution)) - 1
    sides = [2 ** ((i + 5) // 2) for i in range(2 * levels - 1)]
    assert g.synthesis.noise_sizes == [(side, side) for side in sides]
    fixed = total(g.non_trainable_variables)
    assert fixed == 512 + sum(side**2 for side in sides)
    assert g.synthesis.num_ws == g.mapping.num_ws == 2 * levels


def test_generator_parameters_by_layer(config):
    config.data.resolution = 1024
    g = build.build_generator(config)
    assert total(g.mapping.dense[3].weights) == 262_656
    assert total(g.synthesis.convs[0].trainable_variables) == 2_622_465
    assert total(g.synthesis.trainable_variables) == 28_268_812
    widths = [512, 512, 512, 512, 512, 256, 128, 64, 32]
    assert [layer.filters for layer in g.synthesis.convs] == widths
    assert [layer.filters for layer in g.synthesis.up_convs] == widths[1:]


DISCRIMINATORS = [
    ("F", 1024, "orig", 27_789_857),
    ("F", 1024, "skip", 27_801_889),
    ("F", 1024, "resnet", 29_012_513),
    ("F", 512, "resnet", 28_982_849),
    ("F", 256, "resnet", 28_864_129),
    ("E", 1024, "orig", 23_077_137),
    ("E", 1024, "skip", 23_087_249),
    ("E", 1024, "resnet", 24_038_161),
    ("E", 512, "resnet", 24_030_753),
    ("E", 256, "resnet", 24_001_089),
]


@pytest.mark.parametrize("row, resolution, architecture, expected", DISCRIMINATORS)
def test_discriminator_parameters(config, row, resolution, architecture, expected):
    config.data.resolution = resolution
    config.discriminator.architecture = architecture
    config.discriminator.fmap_base = FMAP_BASE[row]
    d = build.build_discriminator(config.validate())
    assert total(d.trainable_variables) == expected
    assert not d.non_trainable_variables


@pytest.fixture
def stylegan(config):
    config.data.resolution = 1024
    config.generator.block, config.discriminator.block = "adain", "stylegan"
    for network in (config.generator, config.discriminator):
        network.architecture, network.resample_kernel = "growing", (1, 2, 1)
        network.fmap_base = 8192
    return config


def test_stylegan_parameters(stylegan):
    g = build.build_generator(stylegan.validate())
    assert total(g.trainable_variables) == 26_219_627
    assert total(g.mapping.trainable_variables) == 2_101_248
    assert total(g.synthesis.trainable_variables) == 24_118_379
    sides = [2 ** (i // 2 + 2) for i in range(18)]
    assert g.synthesis.noise_sizes == [(side, side) for side in sides]
    fixed = total(g.non_trainable_variables)
    assert fixed == 512 + 1 + sum(side**2 for side in sides)  # w_avg, lod, noise
    layers = g.synthesis.styled_layers
    expected = {0: 534_528, 1: 2_885_632, 8: 1_442_816, 17: 18_752}
    for number, count in expected.items():
        assert total(layers[number].trainable_variables) == count
    assert total(g.synthesis.to_rgb[0].weights) == 1539
    assert total(g.synthesis.to_rgb[8].weights) == 51
    d = build.build_discriminator(stylegan)
    assert total(d.trainable_variables) == 23_087_249
    assert [v.name for v in d.non_trainable_variables] == ["lod"]


def test_traditional_generator_parameters(stylegan):
    """StyleGAN names 23.1 million for the generator of its rows A and B."""
    generator = stylegan.generator
    generator.styles = generator.noise = generator.const_input = False
    generator.pixel_norm, generator.mapping_layers = True, 0
    g = build.build_generator(stylegan.validate())
    assert round(total(g.trainable_variables) / 1e6, 1) == 23.1
    assert [v.name for v in g.non_trainable_variables] == ["w_avg", "lod"]


def test_growing_stylegan2_parameters(config):
    """Configs B to D of StyleGAN2: the layers of the skip networks of config E."""
    config.data.resolution = 1024
    for network in (config.generator, config.discriminator):
        network.architecture, network.fmap_base = "growing", 8192
    g = build.build_generator(config.validate())
    d = build.build_discriminator(config)
    assert total(g.trainable_variables) == 24_900_764
    assert total(d.trainable_variables) == 23_087_249
    config.generator.block = "normalized"
    g = build.build_generator(config.validate())
    assert total(g.trainable_variables) == 24_900_764


@pytest.fixture
def small(config):
    config.data.resolution = 16
    config.data.channels = 1
    config.generator.z_dim, config.generator.w_dim = 5, 6
    config.generator.mapping_layers = 2
    config.generator.fmap_base, config.generator.fmap_max = 40, 8
    config.discriminator.fmap_base, config.discriminator.fmap_max = 32, 8
    return config.validate()


# Checkpoints, .keras files and optimizer states go by these names and this order.
SKIP_GENERATOR = """
generator/w_avg 6 fixed
generator/mapping/dense0/kernel 5 6
generator/mapping/dense0/bias 6
generator/mapping/dense1/kernel 6 6
generator/mapping/dense1/bias 6
generator/synthesis/const 1 4 4 8
generator/synthesis/8x8_conv_up/bias 8
generator/synthesis/8x8_conv_up/conv/kernel 3 3 8 8
generator/synthesis/8x8_conv_up/conv/affine/kernel 6 8
generator/synthesis/8x8_conv_up/conv/affine/bias 8
generator/synthesis/8x8_conv_up/noise/strength
generator/synthesis/8x8_conv_up/noise/fixed 1 8 8 1 fixed
generator/synthesis/16x16_conv_up/bias 5
generator/synthesis/16x16_conv_up/conv/kernel 3 3 8 5
generator/synthesis/16x16_conv_up/conv/affine/kernel 6 8
generator/synthesis/16x16_conv_up/conv/affine/bias 8
generator/synthesis/16x16_conv_up/noise/strength
generator/synthesis/16x16_conv_up/noise/fixed 1 16 16 1 fixed
generator/synthesis/4x4_conv/bias 8
generator/synthesis/4x4_conv/conv/kernel 3 3 8 8
generator/synthesis/4x4_conv/conv/affine/kernel 6 8
generator/synthesis/4x4_conv/conv/affine/bias 8
generator/synthesis/4x4_conv/noise/strength
generator/synthesis/4x4_conv/noise/fixed 1 4 4 1 fixed
generator/synthesis/8x8_conv/bias 8
generator/synthesis/8x8_conv/conv/kernel 3 3 8 8
generator/synthesis/8x8_conv/conv/affine/kernel 6 8
generator/synthesis/8x8_conv/conv/affine/bias 8
generator/synthesis/8x8_conv/noise/strength
generator/synthesis/8x8_conv/noise/fixed 1 8 8 1 fixed
generator/synthesis/16x16_conv/bias 5
generator/synthesis/16x16_conv/conv/kernel 3 3 5 5
generator/synthesis/16x16_conv/conv/affine/kernel 6 5
generator/synthesis/16x16_conv/conv/affine/bias 5
generator/synthesis/16x16_conv/noise/strength
generator/synthesis/16x16_conv/noise/fixed 1 16 16 1 fixed
generator/synthesis/4x4_to_rgb/bias 1
generator/synthesis/4x4_to_rgb/conv/kernel 1 1 8 1
generator/synthesis/4x4_to_rgb/conv/affine/kernel 6 8
generator/synthesis/4x4_to_rgb/conv/affine/bias 8
generator/synthesis/8x8_to_rgb/bias 1
generator/synthesis/8x8_to_rgb/conv/kernel 1 1 8 1
generator/synthesis/8x8_to_rgb/conv/affine/kernel 6 8
generator/synthesis/8x8_to_rgb/conv/affine/bias 8
generator/synthesis/16x16_to_rgb/bias 1
generator/synthesis/16x16_to_rgb/conv/kernel 1 1 5 1
generator/synthesis/16x16_to_rgb/conv/affine/kernel 6 5
generator/synthesis/16x16_to_rgb/conv/affine/bias 5
"""

RESNET_DISCRIMINATOR = """
discriminator/8x8_conv/kernel 3 3 8 8
discriminator/8x8_conv/bias 8
discriminator/16x16_conv/kernel 3 3 4 4
discriminator/16x16_conv/bias 4
discriminator/8x8_conv_down/kernel 3 3 8 8
discriminator/8x8_conv_down/bias 8
discriminator/16x16_conv_down/kernel 3 3 4 8
discriminator/16x16_conv_down/bias 8
discriminator/4x4_conv/kernel 3 3 9 8
discriminator/4x4_conv/bias 8
discriminator/dense/kernel 128 8
discriminator/dense/bias 8
discriminator/output/kernel 8 1
discriminator/output/bias 1
discriminator/16x16_from_rgb/kernel 1 1 1 4
discriminator/16x16_from_rgb/bias 4
discriminator/8x8_skip/kernel 1 1 8 8
discriminator/16x16_skip/kernel 1 1 4 8
"""


def test_manifest_of_the_skip_generator(small):
    expected = SKIP_GENERATOR.strip().splitlines()
    assert manifest(build.build_generator(small)) == expected


def test_manifest_of_the_resnet_discriminator(small):
    expected = RESNET_DISCRIMINATOR.strip().splitlines()
    assert manifest(build.build_discriminator(small)) == expected


def extra(network, plain):
    return sorted(set(manifest(network)) - set(manifest(plain)))


@pytest.mark.parametrize(
    "conditioning, generator, discriminator",
    [
        (
            "stylegan2",
            ["mapping/dense0/kernel 10 6", "mapping/embedding 3 5"],
            ["output/bias 3", "output/kernel 8 3"],
        ),
        (
            "ada",
            [
                "mapping/dense0/kernel 11 6",
                "mapping/embed/bias 6",
                "mapping/embed/kernel 3 6",
            ],
            [
                "output/dense0/bias 8",
                "output/dense0/kernel 8 8",
                "output/embed/bias 8",
                "output/embed/kernel 3 8",
                "output/output/bias 8",
                "output/output/kernel 8 8",
            ],
        ),
    ],
)
def test_manifest_of_what_labels_add(small, conditioning, generator, discriminator):
    small.generator.conditioning = small.discriminator.conditioning = conditioning
    small.discriminator.mapping_layers = 1
    for make, expected in (
        (build.build_generator, generator),
        (build.build_discriminator, discriminator),
    ):
        lines = extra(make(small, 3), make(small))
        assert [line.split("/", 1)[1] for line in lines] == expected


STYLEGAN_GENERATOR = """
generator/w_avg 6 fixed
generator/mapping/dense0/kernel 5 6
generator/mapping/dense0/bias 6
generator/synthesis/lod fixed
generator/synthesis/4x4_start/const 1 4 4 8
generator/synthesis/4x4_start/bias 8
generator/synthesis/4x4_start/noise/strength 8
generator/synthesis/4x4_start/noise/fixed 1 4 4 1 fixed
generator/synthesis/4x4_start/adain/affine/kernel 6 16
generator/synthesis/4x4_start/adain/affine/bias 16
generator/synthesis/8x8_conv_up/bias 5
generator/synthesis/8x8_conv_up/noise/strength 5
generator/synthesis/8x8_conv_up/noise/fixed 1 8 8 1 fixed
generator/synthesis/8x8_conv_up/adain/affine/kernel 6 10
generator/synthesis/8x8_conv_up/adain/affine/bias 10
generator/synthesis/8x8_conv_up/conv/kernel 3 3 8 5
generator/synthesis/4x4_conv/bias 8
generator/synthesis/4x4_conv/noise/strength 8
generator/synthesis/4x4_conv/noise/fixed 1 4 4 1 fixed
generator/synthesis/4x4_conv/adain/affine/kernel 6 16
generator/synthesis/4x4_conv/adain/affine/bias 16
generator/synthesis/4x4_conv/conv/kernel 3 3 8 8
generator/synthesis/8x8_conv/bias 5
generator/synthesis/8x8_conv/noise/strength 5
generator/synthesis/8x8_conv/noise/fixed 1 8 8 1 fixed
generator/synthesis/8x8_conv/adain/affine/kernel 6 10
generator/synthesis/8x8_conv/adain/affine/bias 10
generator/synthesis/8x8_conv/conv/kernel 3 3 5 5
generator/synthesis/4x4_to_rgb/kernel 1 1 8 1
generator/synthesis/4x4_to_rgb/bias 1
generator/synthesis/8x8_to_rgb/kernel 1 1 5 1
generator/synthesis/8x8_to_rgb/bias 1
"""

PROGAN_GENERATOR = """
generator/w_avg 6 fixed
generator/mapping/dense0/kernel 5 6
generator/mapping/dense0/bias 6
generator/synthesis/lod fixed
generator/synthesis/4x4_start/bias 8
generator/synthesis/4x4_start/dense/kernel 6 128
generator/synthesis/8x8_conv_up/bias 5
generator/synthesis/8x8_conv_up/conv/kernel 3 3 8 5
generator/synthesis/4x4_conv/bias 8
generator/synthesis/4x4_conv/conv/kernel 3 3 8 8
generator/synthesis/8x8_conv/bias 5
generator/synthesis/8x8_conv/conv/kernel 3 3 5 5
generator/synthesis/4x4_to_rgb/kernel 1 1 8 1
generator/synthesis/4x4_to_rgb/bias 1
generator/synthesis/8x8_to_rgb/kernel 1 1 5 1
generator/synthesis/8x8_to_rgb/bias 1
"""

GROWING_STYLEGAN2_GENERATOR = """
generator/w_avg 6 fixed
generator/mapping/dense0/kernel 5 6
generator/mapping/dense0/bias 6
generator/synthesis/const 1 4 4 8
generator/synthesis/lod fixed
generator/synthesis/8x8_conv_up/bias 5
generator/synthesis/8x8_conv_up/conv/kernel 3 3 8 5
generator/synthesis/8x8_conv_up/conv/affine/kernel 6 8
generator/synthesis/8x8_conv_up/conv/affine/bias 8
generator/synthesis/8x8_conv_up/noise/strength
generator/synthesis/8x8_conv_up/noise/fixed 1 8 8 1 fixed
generator/synthesis/4x4_conv/bias 8
generator/synthesis/4x4_conv/conv/kernel 3 3 8 8
generator/synthesis/4x4_conv/conv/affine/kernel 6 8
generator/synthesis/4x4_conv/conv/affine/bias 8
generator/synthesis/4x4_conv/noise/strength
generator/synthesis/4x4_conv/noise/fixed 1 4 4 1 fixed
generator/synthesis/8x8_conv/bias 5
generator/synthesis/8x8_conv/conv/kernel 3 3 5 5
generator/synthesis/8x8_conv/conv/affine/kernel 6 5
generator/synthesis/8x8_conv/conv/affine/bias 5
generator/synthesis/8x8_conv/noise/strength
generator/synthesis/8x8_conv/noise/fixed 1 8 8 1 fixed
generator/synthesis/4x4_to_rgb/bias 1
generator/synthesis/4x4_to_rgb/conv/kernel 1 1 8 1
generator/synthesis/4x4_to_rgb/conv/affine/kernel 6 8
generator/synthesis/4x4_to_rgb/conv/affine/bias 8
generator/synthesis/8x8_to_rgb/bias 1
generator/synthesis/8x8_to_rgb/conv/kernel 1 1 5 1
generator/synthesis/8x8_to_rgb/conv/affine/kernel 6 5
generator/synthesis/8x8_to_rgb/conv/affine/bias 5
"""

GROWING_DISCRIMINATOR = """
discriminator/lod fixed
discriminator/8x8_conv/kernel 3 3 5 5
discriminator/8x8_conv/bias 5
discriminator/8x8_conv_down/kernel 3 3 5 8
discriminator/8x8_conv_down/bias 8
discriminator/4x4_conv/kernel 3 3 9 8
discriminator/4x4_conv/bias 8
discriminator/dense/kernel 128 8
discriminator/dense/bias 8
discriminator/output/kernel 8 1
discriminator/output/bias 1
discriminator/4x4_from_rgb/kernel 1 1 1 8
discriminator/4x4_from_rgb/bias 8
discriminator/8x8_from_rgb/kernel 1 1 1 5
discriminator/8x8_from_rgb/bias 5
"""


@pytest.fixture
def smallest(config):
    config.data.resolution, config.data.channels = 8, 1
    config.generator.z_dim, config.generator.w_dim = 5, 6
    config.generator.mapping_layers = 1
    for network in (config.generator, config.discriminator):
        network.architecture = "growing"
        network.fmap_base, network.fmap_max = 20, 8
    return config


def test_manifest_of_the_growing_networks(smallest):
    expected = GROWING_STYLEGAN2_GENERATOR.strip().splitlines()
    for block in ("modulated", "normalized"):
        smallest.generator.block = block
        assert manifest(build.build_generator(smallest.validate())) == expected
    expected = GROWING_DISCRIMINATOR.strip().splitlines()
    assert manifest(build.build_discriminator(smallest)) == expected
    smallest.discriminator.block = "stylegan"
    smallest.discriminator.resample_kernel = (1, 2, 1)
    assert manifest(build.build_discriminator(smallest.validate())) == expected


def test_manifest_of_the_stylegan_generators(smallest):
    generator = smallest.generator
    generator.block, generator.resample_kernel = "adain", (1, 2, 1)
    expected = STYLEGAN_GENERATOR.strip().splitlines()
    assert manifest(build.build_generator(smallest.validate())) == expected
    generator.styles = generator.noise = generator.const_input = False
    generator.pixel_norm = True
    expected = PROGAN_GENERATOR.strip().splitlines()
    assert manifest(build.build_generator(smallest.validate())) == expected


@pytest.mark.parametrize("part", ["generator", "discriminator"])
def test_manifest_of_every_preset(part):
    expected = json.loads(manifests.FILE.read_text())[part]
    found = manifests.of_presets()[part]
    assert found == expected, "python tests/manifests.py --write"
    names = [name for entry in expected for name in entry["presets"]]
    assert sorted(names) == manifests.PRESETS


# (G, D) of the presets that the papers and their repositories name totals of.
PUBLISHED = {
    "stylegan1_f": (26_219_627, 23_087_249),
    "stylegan2_a": (26_219_627, 23_087_249),
    "stylegan2_e": (24_900_764, 24_038_161),
    "stylegan2_e_gorig_dorig": (23_596_292, 23_077_137),
    "stylegan2_e_gresnet_dskip": (24_557_316, 23_087_249),
    "stylegan2_f": (30_370_060, 29_012_513),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_totals_of_the_manifests(name):
    pinned = json.loads(manifests.FILE.read_text())
    for part, expected in zip(pinned, PUBLISHED[name], strict=True):
        (lines,) = (e["variables"] for e in pinned[part] if name in e["presets"])
        shapes = [line.split()[1:] for line in lines if not line.endswith(" fixed")]
        assert sum(math.prod(map(int, shape)) for shape in shapes) == expected
