"""Whole StyleGAN networks against the published implementation's numbers."""

import numpy as np
import published
import pytest

from tfstylegan import config as config_lib
from tfstylegan.networks import build

TOLERANCE = 1e-4


def relative(actual, expected):
    """Largest difference over the largest expected magnitude."""
    return np.max(np.abs(actual - expected)) / np.max(np.abs(expected))


def nhwc(array):
    return np.transpose(array, (0, 2, 3, 1))


@pytest.fixture(scope="module", params=["sg1_u64", "sg1_u32_lod"])
def case(request, golden):
    """Stored arrays without the weights, lod, generator, discriminator."""
    arrays, name = golden("networks_stylegan1"), request.param
    meta = arrays["meta"]["cfgs"][name]
    config = config_lib.Config()
    config.data.resolution = meta["res"]
    for network, options in (
        (config.generator, meta["G"]),
        (config.discriminator, meta["D"]),
    ):
        network.architecture = "growing"
        network.resample_kernel = (1, 2, 1)
        network.fmap_base, network.fmap_max = options["fmap_base"], options["fmap_max"]
    config.generator.block, config.discriminator.block = "adain", "stylegan"
    config.generator.z_dim = meta["G"]["latent_size"]
    config.generator.w_dim = meta["G"]["dlatent_size"]
    g = build.build_generator(config.validate())
    d = build.build_discriminator(config)
    published.assign(g, arrays, f"{name}/vars/Gs/", "tensorflow")
    published.assign(d, arrays, f"{name}/vars/D/", "tensorflow")
    stored = {
        key[len(name) + 1 :]: value
        for key, value in arrays.items()
        if key.startswith(f"{name}/") and "/vars/" not in key
    }
    return stored, meta.get("lod", 0), g, d


def test_golden_lod_is_that_of_the_checkpoint(case):
    _, lod, g, d = case
    assert g.synthesis.lod.numpy() == d.lod.numpy() == lod
    assert g.stage == d.stage == {0: (5, False), 1.25: (3, True)}[lod]


def test_golden_mapping_gives_the_published_w(case):
    stored, _, g, _ = case
    ws = g.mapping(stored["z"]).numpy()
    assert relative(ws[:, 0], stored["Gs/w"]) < TOLERANCE
    assert np.array_equal(ws[:, 0], ws[:, -1])


@pytest.mark.parametrize(
    "psi, cutoff, name", [(1, None, "1"), (0.7, 8, "0.7"), (0.5, 4, "0.5_cut4")]
)
def test_golden_images(case, psi, cutoff, name):
    stored, _, g, _ = case
    images = g(
        stored["z"],
        truncation_psi=psi,
        truncation_cutoff=cutoff,
        noise_mode="const",
    )
    assert relative(images.numpy(), nhwc(stored[f"Gs/img_psi{name}"])) < TOLERANCE


def test_golden_mixed_styles(case):
    stored, _, g, _ = case
    images = g.synthesis(stored["mixed_ws"], noise_mode="const")
    assert relative(images.numpy(), nhwc(stored["mixed_img"])) < TOLERANCE


@pytest.mark.parametrize("batch", [1, 3, 4, 8, 12])
def test_golden_logits(case, batch):
    stored, _, _, d = case
    logits = d(nhwc(stored["D/img"])[:batch]).numpy()
    assert relative(logits, stored[f"D/logits_n{batch}"]) < TOLERANCE
