"""Frechet distance against known numbers; the pixel metric on digits and on noise."""

import json
import pathlib

import numpy as np
import pytest
import scipy.linalg

from tfstylegan import spreading
from tfstylegan.data import sources
from tfstylegan.metrics import detectors, features, fid, reals, suite

GOLDEN = pathlib.Path(__file__).parent / "data" / "metrics.npz"


@pytest.fixture(scope="module")
def digits():
    """All digits in a random order, uint8 [1797, 32, 32, 1]."""
    source = sources.open_source("digits", height=32, width=32, channels=1)
    return source.images(np.random.RandomState(0).permutation(len(source)))


def statistics(x, ddof=0):
    x = np.asarray(x, np.float64)
    return x.mean(axis=0), np.cov(x, rowvar=False, ddof=ddof)


class Fakes:
    """Stands for a generator that makes these images, in this order."""

    batch_size = 16
    manifest = {"truncation_psi": 1.0}
    devices = spreading.Devices()

    def __init__(self, images):
        self.images = images

    def stream(self, seed):
        remaining = iter(self.images)
        return lambda n: np.stack([next(remaining) for _ in range(n)])


def measure(real, fake, **options):
    """The result of pixel_frechet for two arrays of images."""
    source = sources.ArraySource(
        real, np.zeros([len(real), 0]), description="real", fingerprint="of real"
    )
    known = detectors.Detectors(real.shape[1:], labelled=None, folder=None)
    measures = suite.Suite(reals.Reals(source), known)
    options = {"num_images": len(fake)} | options
    return measures.compute("pixel_frechet", Fakes(fake), **options)


def distance(real, fake):
    return measure(real, fake)["value"]


# The Frechet distance of two Gaussians.


@pytest.mark.parametrize("case", ["f0", "f2"])
def test_frechet_distance_golden(case):
    with np.load(GOLDEN) as data:
        meta = json.loads(bytes(data["meta"]).decode())
        real, fake = data[f"{case}/real"], data[f"{case}/gen"]
        mean, covariance = statistics(real)
        np.testing.assert_allclose(mean, data[f"{case}/real_mu"], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(
            covariance, data[f"{case}/real_cov"], rtol=1e-4, atol=1e-5
        )
    value = fid.frechet_distance(mean, covariance, *statistics(fake))
    expected = meta["results"][case]["fid"]
    np.testing.assert_allclose(value, expected, rtol=1e-5)


def test_frechet_distance_of_diagonal_gaussians_is_closed_form():
    rng = np.random.RandomState(1)
    mu1, mu2 = rng.randn(2, 12)
    s1, s2 = rng.uniform(0, 3, [2, 12])  # standard deviations
    s1[:3] = s2[2:5] = 0  # singular, in different directions
    rotation = np.linalg.qr(rng.randn(12, 12))[0]
    expected = np.sum((mu1 - mu2) ** 2) + np.sum((s1 - s2) ** 2)
    for basis in (np.eye(12), rotation):
        value = fid.frechet_distance(
            basis @ mu1,
            basis @ np.diag(s1**2) @ basis.T,
            basis @ mu2,
            basis @ np.diag(s2**2) @ basis.T,
        )
        np.testing.assert_allclose(value, expected, rtol=1e-10)


def test_frechet_distance_agrees_with_the_matrix_square_root():
    rng = np.random.RandomState(2)
    (mu1, sigma1), (mu2, sigma2) = (
        statistics(rng.randn(50, 6) @ rng.randn(6, 6)) for _ in range(2)
    )
    root = scipy.linalg.sqrtm(sigma1 @ sigma2).real
    expected = np.sum((mu1 - mu2) ** 2) + np.trace(sigma1 + sigma2 - 2 * root)
    value = fid.frechet_distance(mu1, sigma1, mu2, sigma2)
    np.testing.assert_allclose(value, expected, rtol=1e-9)
    swapped = fid.frechet_distance(mu2, sigma2, mu1, sigma1)
    np.testing.assert_allclose(swapped, value, rtol=1e-9)


@pytest.mark.parametrize("samples", [5, 200])  # 5: rank 4 in 20 dimensions
def test_frechet_distance_to_itself_is_zero(samples):
    mean, covariance = statistics(np.random.RandomState(3).randn(samples, 20) * 100)
    value = fid.frechet_distance(mean, covariance, mean, covariance)
    assert 0 <= value < 1e-9 * np.trace(covariance)


def test_frechet_distance_refuses_bad_statistics():
    mean, covariance = np.zeros(3), np.eye(3)
    with pytest.raises(ValueError, match=r"sigma2 must have shape \[3, 3\], got \[3\]"):
        fid.frechet_distance(mean, covariance, mean, mean)
    with pytest.raises(ValueError, match=r"mu2 must have shape \[3\], got \[4\]"):
        fid.frechet_distance(mean, covariance, np.zeros(4), covariance)
    with pytest.raises(ValueError, match="sigma1 must be finite"):
        fid.frechet_distance(mean, covariance * np.nan, mean, covariance)


# Features and their statistics.


@pytest.mark.parametrize("block", [None, 1, 30, 50, 1000])
@pytest.mark.parametrize("ddof", [0, 1])
def test_running_statistics_equal_those_of_the_whole(ddof, block):
    x = np.random.RandomState(4).randn(101, 5) + 1e6  # a mean that eats digits
    running = features.RunningStatistics(5, block=block)
    for part in np.split(x, [0, 1, 30, 31, 90]):
        part = part.copy()
        running.update(part)
        part[:] = np.nan  # the caller's, who may use it again
    mean, covariance = statistics(x, ddof)
    assert running.count == 101
    np.testing.assert_allclose(running.mean, mean, rtol=1e-14)
    np.testing.assert_allclose(running.covariance(ddof=ddof), covariance, atol=1e-8)


def test_running_statistics_of_blocks_do_not_depend_on_batches():
    x = np.random.RandomState(6).randn(100, 7).astype(np.float32)
    results = []
    for size in (1, 13, 100):
        running = features.RunningStatistics(7, block=32)
        for start in range(0, 100, size):
            running.update(x[start : start + size])
        results.append((running.mean, running.covariance()))
    for mean, covariance in results[1:]:
        np.testing.assert_array_equal(mean, results[0][0])
        np.testing.assert_array_equal(covariance, results[0][1])


def test_running_statistics_may_be_asked_in_between():
    x = np.random.RandomState(5).randn(9, 2)
    running = features.RunningStatistics(2, block=4)
    running.update(x[:3])
    np.testing.assert_allclose(running.mean, x[:3].mean(axis=0), rtol=1e-14)
    running.update(x[3:])
    mean, covariance = statistics(x, ddof=1)
    np.testing.assert_allclose(running.mean, mean, rtol=1e-12)
    np.testing.assert_allclose(running.covariance(), covariance, rtol=1e-12)


def test_running_statistics_refuse_what_they_cannot_answer():
    running = features.RunningStatistics(3)
    running.update(np.zeros([1, 3]))
    with pytest.raises(ValueError, match="needs more than 1 features, got 1"):
        running.covariance()
    with pytest.raises(ValueError, match=r"features must be \[N, 3\], got \[2, 4\]"):
        running.update(np.zeros([2, 4]))
    for block in (None, 3):
        broken = features.RunningStatistics(2, block=block)
        with pytest.raises(ValueError, match="must be finite, got NaN .* among 3"):
            broken.update(np.array([[1, 2], [3, 4], [5, np.inf]]))
    with pytest.raises(ValueError, match="block must be at least 1, got 0"):
        features.RunningStatistics(3, block=0)


def test_projection_is_fixed_for_good():
    projection = features.PixelProjection((8, 8, 3))
    again = features.PixelProjection((8, 8, 3))
    np.testing.assert_array_equal(projection.matrix, again.matrix)
    assert projection.matrix.shape == (192, 64)
    # Pinned: values recorded in logs stay comparable only while these stand.
    expected = [0.07616636290569935, -0.11058623386999288, -0.19018559137303337]
    np.testing.assert_allclose(projection.matrix[0, :3], expected, rtol=1e-12)


def test_projection_of_white_is_the_column_sum():
    projection = features.PixelProjection((8, 8, 1), dims=5)
    white = np.full([2, 8, 8, 1], 255, np.uint8)
    expected = np.tile(projection.matrix.sum(axis=0), [2, 1])
    np.testing.assert_allclose(projection.features(white), expected, rtol=1e-12)


def test_projection_averages_large_images_over_boxes():
    small = np.random.RandomState(5).randint(0, 256, [3, 32, 48, 3]).astype(np.uint8)
    large = small.repeat(4, axis=1).repeat(4, axis=2)
    large = np.pad(large, [(0, 0), (0, 3), (0, 1), (0, 0)])  # a remainder is dropped
    expected = features.PixelProjection((32, 48, 3)).features(small)
    projection = features.PixelProjection(large.shape[1:])
    value = projection.features(large)
    np.testing.assert_allclose(value, expected, rtol=1e-9)
    assert projection.manifest["resize"] == "means of squares to 32x48"


def test_projection_has_no_more_features_than_pixels():
    projection = features.PixelProjection((4, 4, 1))
    assert projection.features(np.zeros([2, 4, 4, 1], np.uint8)).shape == (2, 16)


def test_projection_refuses_other_images():
    projection = features.PixelProjection((8, 8, 1))
    for bad in (np.zeros([2, 8, 8, 1]), np.zeros([2, 8, 8, 3], np.uint8)):
        with pytest.raises(ValueError, match=r"images must be uint8 \[N, 8, 8, 1\]"):
            projection.features(bad)


# The metric.


def test_pixel_frechet_of_the_same_images_is_zero(digits):
    assert distance(digits, digits[::-1]) < 1e-9


def test_pixel_frechet_tells_digits_from_other_images(digits):
    half, other = digits[:898], digits[898:1796]
    rng = np.random.RandomState(6)
    noise = rng.randint(0, 256, other.shape).astype(np.uint8)
    floor = distance(half, other)
    assert distance(half, noise) > 100 * floor
    assert distance(half, np.full_like(other, 128)) > 100 * floor
    assert distance(half, np.full_like(other, 0)) > 20 * floor
    mean_image = np.broadcast_to(half.mean(axis=0).astype(np.uint8), other.shape)
    assert distance(half, mean_image) > 20 * floor  # right mean, no variety
    one_digit = np.repeat(other[:9], 100, axis=0)  # nine images only: collapse
    assert distance(half, one_digit) > 5 * floor
    dirty = np.clip(other + rng.normal(0, 40, other.shape), 0, 255).astype(np.uint8)
    assert distance(half, dirty) > 2 * floor


def test_pixel_frechet_does_not_depend_on_batches(digits, monkeypatch):
    real, fake = digits[:500], digits[500:900]
    once = distance(real, fake)
    monkeypatch.setattr(suite, "BATCH", 150)
    np.testing.assert_allclose(distance(real, fake), once, rtol=1e-9)


def test_pixel_frechet_manifest_says_what_was_measured(digits):
    result = json.loads(json.dumps(measure(digits[:30], digits[:20])))
    assert result["num_real"] == 30 and result["num_fake"] == 20
    about = {"detector": "pixels", "dims": 64, "seed": 20190212, "resize": "none"}
    assert result["detector"] == about
    assert result["data"] == "of real" and result["truncation_psi"] == 1
    assert result["values"] == {"pixel_frechet": result["value"]}
    expected = fid.frechet_distance(
        *(
            statistics(
                features.PixelProjection((32, 32, 1)).features(digits[:n]), ddof=1
            )[i]
            for n in (30, 20)
            for i in (0, 1)
        )
    )
    np.testing.assert_allclose(result["value"], expected, rtol=1e-9)


def test_pixel_frechet_refuses_bad_input(digits):
    with pytest.raises(ValueError, match="needs more than 1 features, got 1"):
        measure(digits[:1], digits[:5])
    with pytest.raises(ValueError, match="needs more than 1 features, got 1"):
        measure(digits[:5], digits[:1])
    with pytest.raises(ValueError, match="images must be uint8 .* got float32"):
        measure(digits, np.float32(digits[:5]))
