"""LPIPS from two torch files, against its definition in NumPy."""

import detector_files
import numpy as np
import oracles
import pytest
from detector_files import max_pooled, sums

from tfstylegan.metrics.detectors import files, lpips

WIDTHS = (3, 4, 5, 6, 4)
FORMATS = [detector_files.torch_stream, detector_files.torch_archive]
# Of torchvision's Sequential: a ReLU follows each, a pooling each stage.
PLACES = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)


@pytest.fixture(scope="module")
def convs():
    return detector_files.vgg16_convolutions(WIDTHS)


@pytest.fixture(scope="module")
def heads():
    random = np.random.RandomState(3)
    return [np.abs(random.randn(width)).astype("f4") for width in WIDTHS]


def states(convs, heads):
    backbone = {}
    for place, (kernel, bias) in zip(PLACES, convs, strict=True):
        weight = np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))
        backbone[f"features.{place}.weight"] = weight
        backbone[f"features.{place}.bias"] = bias
    backbone["classifier.0.weight"] = np.zeros([2, 4], "f4")
    linear = {
        f"lin{stage}.model.1.weight": head.reshape(1, -1, 1, 1)
        for stage, head in enumerate(heads)
    }
    return backbone, linear


def load(folder, backbone, linear, write=detector_files.torch_stream):
    (folder / "vgg16-397923af.pth").write_bytes(write(backbone))
    (folder / "vgg.pth").write_bytes(write(linear))
    return lpips.load(sums(folder), download=False)


def stages(x, convs):
    x = x / 127.5 - 1
    x = (x - [-0.030, -0.088, -0.188]) / [0.458, 0.448, 0.450]
    for place, (kernel, bias) in zip(PLACES, convs):
        if place in (5, 10, 17, 24):
            x = max_pooled(x)
        x = np.maximum(oracles.conv2d(x, kernel, padding=1) + bias, 0)
        if place in (2, 7, 14, 21, 28):
            length = np.sqrt(np.square(x).sum(axis=-1, keepdims=True))
            yield x / (length + 1e-10)


def expected(a, b, convs, heads):
    total = 0
    for f, g, head in zip(stages(a, convs), stages(b, convs), heads, strict=True):
        total = total + (np.square(f - g) * head).sum(axis=-1).mean(axis=(1, 2))
    return total


def numbers(*shape):
    return np.random.RandomState(4).uniform(0, 255, [2, *shape]).astype(np.float32)


@pytest.mark.parametrize("write", FORMATS)
@pytest.mark.parametrize("shape", [(3, 32, 32, 3), (lpips.BATCH + 1, 16, 48, 1)])
def test_lpips_distance(write, shape, convs, heads, tmp_path):
    detector = load(tmp_path, *states(convs, heads), write)
    a, b = numbers(*shape)
    found = detector.distance(a, b)
    wide = [np.repeat(x, 3 // shape[3], axis=3).astype(np.float64) for x in (a, b)]
    want = expected(*wide, convs, heads)
    assert found.shape == (shape[0],) and want.min() > 0.01
    np.testing.assert_allclose(found, want, rtol=1e-4)
    np.testing.assert_allclose(detector.distance(b, a), found, rtol=1e-5)
    np.testing.assert_array_equal(detector.distance(a, a), 0)


def test_lpips_is_not_a_distance_of_rounded_images(convs, heads, tmp_path):
    """Paths are compared at 1e-4 of their length: far below one level of a pixel."""
    detector = load(tmp_path, *states(convs, heads))
    a, _ = numbers(2, 32, 32, 3)
    b = a + np.float32(0.01)
    want = expected(a.astype(np.float64), b.astype(np.float64), convs, heads)
    found = detector.distance(a, b)
    assert 0 < want.max() < 1e-6
    np.testing.assert_allclose(found, want, rtol=0.02)


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        (numbers(2, 32, 32, 3)[0], numbers(1, 32, 32, 3)[0], "the same shape"),
        (*numbers(2, 8, 32, 3), "sides of at least 16"),
        (*numbers(2, 32, 32, 4), r"a must be \[N, H, W, C\].* got \[2, 32, 32, 4\]"),
        (*numbers(2, 32, 32, 3) * np.nan, "a must be finite"),
        (*np.full([2, 1, 32, 32, 3], "x"), "a must be numbers, got <U1"),
    ],
)
def test_lpips_refuses_other_images(a, b, words, convs, heads, tmp_path):
    detector = load(tmp_path, *states(convs, heads))
    with pytest.raises(ValueError, match=words):
        detector.distance(a, b)


def without(state, name):
    return {key: value for key, value in state.items() if key != name}


def test_lpips_refuses_other_networks(convs, heads, tmp_path):
    backbone, linear = states(convs, heads)
    kernel = backbone["features.7.weight"]
    wrong = np.zeros([1, 9, 1, 1], "f4")
    cases = [
        (without(backbone, "features.28.bias"), linear, "lacks features.28.bias"),
        (backbone, without(linear, "lin4.model.1.weight"), "lacks lin4.model.1.weight"),
        (backbone | {"features.7.weight": kernel[0]}, linear, "of 4 dimensions"),
        (backbone | {"features.7.weight": kernel[:, :2]}, linear, "convolution 4 must"),
        (
            backbone,
            linear | {"lin2.model.1.weight": wrong},
            r"lin2.*\[1, 5, 1, 1\]; got",
        ),
        (
            backbone,
            linear | {"lin0.model.1.weight": kernel},
            r"lin0.*\[1, 3, 1, 1\]; got",
        ),
    ]
    for first, second, words in cases:
        first = {key: np.ascontiguousarray(value) for key, value in first.items()}
        with pytest.raises(ValueError, match=words) as caught:
            load(tmp_path, first, second)
        assert not isinstance(caught.value, files.Unavailable)
        assert str(caught.value).startswith(f"{tmp_path}/vgg")
        (tmp_path / "SHA256SUMS").unlink()


def test_lpips_needs_both_files(convs, heads, tmp_path, monkeypatch):
    monkeypatch.setenv("TFSTYLEGAN_CACHE", str(tmp_path / "cache"))
    load(tmp_path, *states(convs, heads))
    (tmp_path / "vgg.pth").unlink()
    with pytest.raises(files.Unavailable, match="^vgg.pth is missing"):
        lpips.load(tmp_path, download=False)
    (tmp_path / "SHA256SUMS").unlink()
    with pytest.raises(ValueError, match="must have SHA-256 397923af8e79.*; got"):
        lpips.load(tmp_path, download=False)
