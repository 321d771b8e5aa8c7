"""Perceptual path length."""

import numpy as np
import published
import pytest
import test_networks_golden as networks_golden

from tfstylegan.metrics import ppl

NAME = "ppl/u32_skip/"


@pytest.mark.parametrize("case", ["slerp0", "slerp2"])
def test_slerp_golden(golden, case):
    arrays = golden("metrics")
    a, b, t = (arrays[f"{case}/{name}"] for name in "abt")
    exact = [x.astype(np.float64) for x in (a, b, t)]
    assert np.allclose(ppl.slerp(*exact), arrays[f"{case}/out64"], rtol=1e-6, atol=1e-9)
    assert np.allclose(ppl.slerp(a, b, t), arrays[f"{case}/out"], rtol=1e-5, atol=1e-6)


def test_slerp_oracle():
    """The weights of a and b by the sines of the angles to them."""
    a, b = np.random.standard_normal([2, 9, 5])
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    t = np.linspace(0, 1, 9)[:, np.newaxis]
    angle = np.arccos((a * b).sum(axis=1, keepdims=True))
    expected = np.sin((1 - t) * angle) * a + np.sin(t * angle) * b
    assert np.allclose(ppl.slerp(3 * a, 7 * b, t), expected / np.sin(angle))


def test_slerp_between_equal_codes_stays_there():
    a = np.random.standard_normal([3, 5])
    unit = a / np.linalg.norm(a, axis=1, keepdims=True)
    assert np.allclose(ppl.slerp(a, 2 * a, 0.3), unit)


@pytest.mark.parametrize(
    "case",
    [
        "w_end_crop0_eps0.0001",
        "w_full_crop1_eps0.0001",
        "z_full_crop1_eps0.0001",
        "z_end_crop0_eps0.0001",
        "w_full_crop0_eps0.01",
        "z_full_crop0_eps0.01",
    ],
)
def test_path_lengths_golden(golden, case):
    """At epsilon = 1e-4 the differences of float32 images have two digits left."""
    arrays, meta = golden("metrics"), golden("metrics")["meta"]["ppl"][NAME + case]
    stored = {k: arrays[f"{NAME}{case}/{k}"] for k in ("z0", "z1", "t", "dist")}
    networks = golden("networks_stylegan2")
    cfg = networks["meta"]["cfgs"]["u32_skip"]
    g, _ = networks_golden.networks_of(cfg, "skip", "skip")
    published.assign(g, networks, "u32_skip/weights/G_ema/")
    noise = [arrays[f"{NAME}{case}/noise/{n}"] for n in meta["noise_order"]]
    noise = [x[np.newaxis, ..., np.newaxis] for x in noise]

    def distance(a, b):
        return np.square((a - b) * 0.01).sum(axis=(1, 2, 3))

    lengths = ppl.path_lengths(
        stored["z0"],
        stored["z1"],
        stored["t"],
        mapping=lambda z: g.mapping(z.astype(np.float32)).numpy(),
        synthesis=lambda ws: g.synthesis(ws, noise=noise).numpy(),
        distance=distance,
        space=meta["space"],
        epsilon=meta["epsilon"],
        crop=meta["crop"],
    )
    error = np.abs(lengths / stored["dist"] - 1).max()
    assert error < (5e-4 if meta["epsilon"] > 1e-3 else 0.05)


def test_mean_length_golden(golden):
    arrays = golden("metrics")
    expected = arrays["meta"]["results"]["ppl_u32_skip"]
    lengths = arrays[f"{NAME}all_dist"][: expected["num_samples"]]
    assert ppl.mean_length(lengths) == pytest.approx(expected["ppl"], rel=1e-6)


def test_mean_length_drops_one_in_a_hundred_at_either_end():
    lengths = np.arange(1001.0)
    lengths[-5:] = 1e9
    assert ppl.mean_length(lengths) == pytest.approx(np.arange(10, 991).mean())
    assert ppl.mean_length([7.0]) == 7


def test_path_length_of_a_linear_generator_is_known():
    """|A (w1 - w0)|^2 of the pixels, whatever t: twice the trace on average."""
    n, shape = 4000, (8, 8, 1)
    matrix = np.random.standard_normal([5, 64])
    z0, z1 = np.random.standard_normal([2, n, 5])
    lengths = ppl.path_lengths(
        z0,
        z1,
        np.random.rand(n),
        mapping=lambda z: z[:, np.newaxis],
        synthesis=lambda ws: (ws[:, 0] @ matrix).reshape(-1, *shape),
        distance=lambda a, b: np.square((a - b) * 2 / 255).sum(axis=(1, 2, 3)),
    )
    expected = np.square((z1 - z0) @ matrix).sum(axis=1)
    assert np.allclose(lengths, expected, rtol=1e-5)
    assert lengths.mean() == pytest.approx(2 * np.square(matrix).sum(), rel=0.1)


def test_path_length_of_arcs_is_the_square_of_their_angle():
    """A generator that keeps distances: z of unit length moves by the angle."""
    z0, z1 = np.random.standard_normal([2, 50, 5])
    matrix = np.linalg.qr(np.random.standard_normal([64, 5]))[0]
    lengths = ppl.path_lengths(
        *(z0, z1, np.random.rand(50)),
        mapping=lambda z: z[:, np.newaxis],
        synthesis=lambda ws: (ws[:, 0] @ matrix.T).reshape(-1, 8, 8, 1),
        distance=lambda a, b: np.square((a - b) * 2 / 255).sum(axis=(1, 2, 3)),
        space="z",
    )
    cosines = (z0 * z1).sum(axis=1) / np.linalg.norm(z0, axis=1)
    angles = np.arccos(cosines / np.linalg.norm(z1, axis=1))
    np.testing.assert_allclose(lengths, angles**2, rtol=1e-5)


def test_distances_see_the_face_at_256_pixels():
    """The published crop of a 1024 x 1024 image, by squares of two pixels."""
    images = np.random.uniform(-1, 1, [1, 1024, 1024, 1]).astype(np.float32)
    seen = ppl.visible(images, crop=True)
    assert seen.shape == (1, 256, 256, 1)
    corner = images[0, 384:386, 256:258, 0].mean()
    assert seen[0, 0, 0, 0] == pytest.approx((corner + 1) * 127.5, rel=1e-5)
    assert ppl.visible(images[:, :300, :300], crop=False).shape == (1, 300, 300, 1)
    with pytest.raises(ValueError, match="at least 8 rows .* got 7"):
        ppl.visible(images[:, :7], crop=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"space": "x"}, "space must be 'z' or 'w', got 'x'"),
        ({"epsilon": 0.0}, "epsilon must be above 0, got 0.0"),
    ],
)
def test_path_lengths_refuse(options, message):
    z = np.ones([1, 2])
    functions = dict.fromkeys(("mapping", "synthesis", "distance"), lambda *x: x)
    with pytest.raises(ValueError, match=message):
        ppl.path_lengths(z, z, np.zeros(1), **functions, **options)
