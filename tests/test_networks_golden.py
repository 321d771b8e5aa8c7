"""Whole StyleGAN2 networks against the published implementations' numbers."""

import numpy as np
import published
import pytest

from tfstylegan import config as config_lib
from tfstylegan.networks import build, generator

CASES = ("u32_skip", "u32_resnet", "c64_skip")
TOLERANCE = 1e-4


def relative(actual, expected):
    """Largest difference over the largest expected magnitude."""
    return np.max(np.abs(actual - expected)) / np.max(np.abs(expected))


def nhwc(array):
    return np.transpose(array, (0, 2, 3, 1))


def networks_of(meta, g_architecture, d_architecture, conditioning="ada"):
    """Our networks in the shape of a stored case."""
    config = config_lib.Config()
    config.data.resolution = meta["res"]
    for network in (config.generator, config.discriminator):
        network.fmap_base = meta["cb"] // 2
        network.fmap_max = meta["cm"]
        network.conditioning = conditioning
    config.generator.z_dim = meta["z_dim"]
    config.generator.w_dim = meta["w_dim"]
    config.generator.architecture = g_architecture
    config.discriminator.architecture = d_architecture
    config.validate()
    labels = meta["c_dim"]
    return (
        build.build_generator(config, labels),
        build.build_discriminator(config, labels),
    )


@pytest.fixture(scope="module", params=CASES)
def case(request, golden):
    arrays = golden("networks_stylegan2")
    name = request.param
    cfg = arrays["meta"]["cfgs"][name]
    g, d = networks_of(cfg, cfg["g_arch"], cfg["d_arch"])
    published.assign(g, arrays, f"{name}/weights/G_ema/")
    published.assign(d, arrays, f"{name}/weights/D/")
    return {k: arrays[f"{name}/{k}"] for k in keys_of(arrays, name)}, cfg, g, d


def keys_of(arrays, name):
    skipped = (f"{name}/weights/",)
    return [
        key[len(name) + 1 :]
        for key in arrays
        if key.startswith(f"{name}/") and not key.startswith(skipped)
    ]


def labels_of(stored, cfg, key="c"):
    return stored[key] if cfg["c_dim"] else None


def test_golden_mapping_gives_the_published_w(case):
    stored, cfg, g, _ = case
    ws = g.mapping(stored["z"], labels_of(stored, cfg)).numpy()
    assert ws.shape == (8, cfg["num_ws"], cfg["w_dim"])
    assert relative(ws[:, 0], stored["G_ema/ws"]) < TOLERANCE
    assert np.array_equal(ws[:, 0], ws[:, -1])


def test_golden_truncation_with_cutoff(case):
    stored, cfg, g, _ = case
    ws = g.mapping(stored["z"], labels_of(stored, cfg))
    ws = generator.truncate(ws, g.w_avg, 0.5, 4).numpy()
    assert relative(ws, stored["G_ema/ws_psi0.5_cut4"]) < TOLERANCE


@pytest.mark.parametrize("mode", ["const", "none"])
@pytest.mark.parametrize("psi, cutoff", [(1, None), (0.5, 4), (0.7, None)])
def test_golden_images(case, mode, psi, cutoff):
    stored, cfg, g, _ = case
    images = g(
        stored["z"],
        labels_of(stored, cfg),
        truncation_psi=psi,
        truncation_cutoff=cutoff,
        noise_mode=mode,
    )
    expected = nhwc(stored[f"G_ema/img_{mode}_psi{psi}_cut{cutoff}"])
    assert relative(images.numpy(), expected) < TOLERANCE


def test_golden_mixed_styles_and_hidden_states(case):
    stored, cfg, g, _ = case
    ws, synthesis = stored["mixed_ws"], g.synthesis
    images = synthesis(ws, noise_mode="const")
    assert relative(images.numpy(), nhwc(stored["mixed_img"])) < TOLERANCE
    noise = synthesis.fixed_noise
    x = synthesis.first_level(ws, noise)
    assert relative(x.numpy(), nhwc(stored["block4/x"])) < TOLERANCE
    for level in range(1, synthesis.doublings + 1):
        shortcut = 0.0
        if hasattr(synthesis, "skips"):
            shortcut = synthesis.skips[level - 1](x)
        x = synthesis.next_level(level, x, ws, noise) + shortcut
        expected = nhwc(stored[f"block{4 << level}/x"])
        assert relative(x.numpy(), expected) < TOLERANCE


@pytest.mark.parametrize("batch", [1, 3, 4, 8, 12])
def test_golden_logits(case, batch):
    stored, cfg, _, d = case
    labels = stored["D/c"][:batch] if cfg["c_dim"] else None
    logits = d(nhwc(stored["D/img"])[:batch], labels).numpy()
    assert relative(logits, stored[f"D/logits_n{batch}"]) < TOLERANCE


def test_golden_w_avg_tracks_two_batches(golden):
    arrays = golden("networks_stylegan2")
    stored = {k: arrays[f"u32_skip/{k}"] for k in keys_of(arrays, "u32_skip")}
    g, _ = networks_of(arrays["meta"]["cfgs"]["u32_skip"], "skip", "skip")
    published.assign(g, arrays, "u32_skip/weights/G/")
    assert np.array_equal(g.w_avg.numpy(), stored["w_avg_before"])
    for expected in ("w_avg_after1", "w_avg_after2"):
        g.track_w_avg(g.mapping(stored["z"]))
        assert relative(g.w_avg.numpy(), stored[expected]) < TOLERANCE


def test_golden_tensorflow_config_f(golden):
    arrays = golden("networks_stylegan2_tf")
    stored = {k: arrays[f"sg2_f_u32/{k}"] for k in keys_of(arrays, "sg2_f_u32")}
    cfg = {"res": 32, "cb": 512, "cm": 64, "z_dim": 64, "w_dim": 64, "c_dim": 0}
    g, d = networks_of(cfg, "skip", "resnet", "stylegan2")
    published.assign(g, arrays, "sg2_f_u32/vars/Gs/", "tensorflow")
    published.assign(d, arrays, "sg2_f_u32/vars/D/", "tensorflow")
    for psi, cutoff, name in (
        (1, None, "psi1"),
        (0.7, None, "psi0.7"),
        (0.5, 4, "psi0.5_cut4"),
    ):
        images = g(
            stored["z"],
            truncation_psi=psi,
            truncation_cutoff=cutoff,
            noise_mode="const",
        )
        assert relative(images.numpy(), nhwc(stored[f"Gs/img_{name}"])) < TOLERANCE
    images = g.synthesis(stored["mixed_ws"], noise_mode="const")
    assert relative(images.numpy(), nhwc(stored["mixed_img"])) < TOLERANCE
    for batch in (1, 3, 4, 8, 12):
        logits = d(nhwc(stored["D/img"])[:batch]).numpy()
        assert relative(logits, stored[f"D/logits_n{batch}"]) < TOLERANCE
