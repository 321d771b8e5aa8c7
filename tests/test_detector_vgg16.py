"""VGG16's fully connected features from Keras' file, against NumPy and Keras."""

import h5py
import keras
import numpy as np
import oracles
import pytest
from detector_files import max_pooled, sums, vgg16_convolutions
from keras.src.legacy.saving import legacy_h5_format

from tfstylegan.metrics.detectors import vgg16

FILE = vgg16.WANTED.names[0]
WIDTHS = (3, 4, 5, 6, 4)
SIDE = 64  # of images that a network with a last map of 2x2 looks at


@pytest.fixture(scope="module")
def layers():
    """{layer: (kernel, bias)} in the order of the network."""
    convs = vgg16_convolutions(WIDTHS)
    names = [f"block{b + 1}_conv{i + 1}" for b in range(5) for i in range(3)]
    names = [name for name in names if name not in ("block1_conv3", "block2_conv3")]
    random = np.random.RandomState(1)
    dense = {}
    for name, shape in {
        "fc1": (16, 7),
        "fc2": (7, 5),
        "predictions": (5, 2),
    }.items():
        arrays = random.randn(*shape), random.randn(shape[1])
        dense[name] = tuple(array.astype("f4") for array in arrays)
    return dict(zip(names, convs, strict=True)) | dense


def write(path, layers, *, nested=False):
    """As Keras wrote it: in 2016, or (nested) from version 2 on."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [name.encode() for name in layers]
        for name, arrays in layers.items():
            group = file.create_group(name)
            keys = [f"{name}_{letter}_1:0" for letter in "Wb"][: len(arrays)]
            if nested:
                keys = [f"{name}/{part}:0" for part in ("kernel", "bias")]
            group.attrs["weight_names"] = [key.encode() for key in keys]
            for key, array in zip(keys, arrays):
                group[key] = array


def load(folder, layers, **options):
    write(folder / FILE, layers, **options)
    return vgg16.load(sums(folder), download=False)


def pixels(*shape):
    return np.random.RandomState(2).randint(0, 256, shape).astype(np.uint8)


def expected(images, layers):
    """fc2 [N, D] of uint8 [N, SIDE, SIDE, 3]."""
    x = images.astype(np.float64)[..., ::-1] - [103.939, 116.779, 123.68]
    for name, (kernel, bias) in layers.items():
        if name.endswith("conv1") and name != "block1_conv1":
            x = max_pooled(x)
        if name.startswith("block"):
            x = np.maximum(oracles.conv2d(x, kernel, padding=1) + bias, 0)
    x = max_pooled(x).reshape(len(x), -1)
    for name in ("fc1", "fc2"):
        kernel, bias = layers[name]
        x = np.maximum(x @ kernel + bias, 0)
    return x


@pytest.mark.parametrize("nested", [False, True])
def test_vgg16_features(layers, nested, tmp_path):
    detector = load(tmp_path, layers, nested=nested)
    images = pixels(3, SIDE, SIDE, 3)
    found = detector.features(images)
    want = expected(images, layers)
    assert found.shape == (3, detector.dims) and (want > 0).any()
    assert oracles.relative_error(found, want) < 1e-5
    grey = images[..., :1]
    want = expected(np.repeat(grey, 3, axis=3), layers)
    assert oracles.relative_error(detector.features(grey), want) < 1e-5
    assert f"{SIDE}x{SIDE}" in detector.manifest["resize"]
    assert detector.manifest["files"][0]["checked"] == "SHA256SUMS"


def test_vgg16_resizes(layers, tmp_path):
    """Halved: a triangle over four pixels, at the edge over three."""
    detector = load(tmp_path, layers)
    images = pixels(2, 2 * SIDE, 2 * SIDE, 3)
    weights = np.zeros([SIDE, 2 * SIDE])
    for i in range(SIDE):
        for j, weight in zip(range(2 * i - 1, 2 * i + 3), (1, 3, 3, 1)):
            if 0 <= j < 2 * SIDE:
                weights[i, j] = weight
    weights /= weights.sum(axis=1, keepdims=True)
    small = np.einsum("ih,nhwc,jw->nijc", weights, images, weights)
    want = expected(small, layers)
    assert oracles.relative_error(detector.features(images), want) < 1e-5


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"fc2": ()}, r"kernel and a bias of fc2; got \[\]"),
        ({"fc1": (np.zeros([15, 7]), np.zeros(7))}, r"fc1 must be \[4, F\] .* \[15"),
        ({"fc2": (np.zeros([6, 5]), np.zeros(5))}, r"fc2 must be \[7, F\] .* \[6, 5"),
        (
            {"block3_conv2": (np.zeros([3, 3, 4, 5]), np.zeros(5))},
            r"convolution 6 must be \[3, 3, 5, F\] and \[F\]; got \[3, 3, 4, 5\]",
        ),
        ({"block1_conv1": (np.zeros([3]), np.zeros(3))}, "bias of block1_conv1; got"),
    ],
)
def test_vgg16_refuses_other_networks(layers, change, words, tmp_path):
    with pytest.raises(ValueError, match=words) as caught:
        load(tmp_path, layers | change)
    assert str(caught.value).startswith(str(tmp_path / FILE))


def test_vgg16_refuses_other_files(layers, tmp_path):
    path = tmp_path / FILE
    write(path, layers)
    words = (
        f"{FILE} must have MD5 64373286793e3c8b2b4e3219cbf3544b; got [0-9a-f]{{32}}$"
    )
    with pytest.raises(ValueError, match=words):
        vgg16.load(tmp_path, download=False)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="cannot be read as HDF5"):
        vgg16.load(sums(tmp_path), download=False)
    with h5py.File(path, "w"):
        pass
    with pytest.raises(ValueError, match="lacks layer_names"):
        (tmp_path / "SHA256SUMS").unlink()
        vgg16.load(sums(tmp_path), download=False)


@pytest.mark.slow
def test_vgg16_is_that_of_keras(tmp_path):
    """The whole network, saved by Keras in the layout of its published file."""
    model = keras.applications.VGG16(weights=None)
    with h5py.File(tmp_path / FILE, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)
    detector = vgg16.load(sums(tmp_path), download=False)
    images = pixels(2, 224, 224, 3)
    inputs = keras.applications.vgg16.preprocess_input(images.astype(np.float32))
    fc2 = keras.Model(model.input, model.get_layer("fc2").output)
    want = fc2.predict(inputs, verbose=0)
    assert detector.dims == 4096 and (want > 0).any()
    assert oracles.relative_error(detector.features(images), want) < 1e-4
