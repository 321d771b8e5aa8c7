"""Inception's frozen graph, in small: any batch, any size, as NumPy computes it."""

import io
import json
import tarfile

import detector_files
import numpy as np
import oracles
import pytest
import tensorflow as tf

from tfstylegan.metrics.detectors import files, inception

GRAPH = "classify_image_graph_def.pb"


@pytest.fixture(scope="module")
def graph():
    return detector_files.inception_graph()


@pytest.fixture(scope="module")
def detector(graph, tmp_path_factory):
    folder = tmp_path_factory.mktemp("detectors")
    (folder / GRAPH).write_bytes(graph[0].SerializeToString())
    return inception.load(folder, download=False)


def pixels(*shape):
    return np.random.RandomState(1).randint(0, 256, shape).astype(np.uint8)


def resized(x, side):
    """TensorFlow 1's bilinear resizing: pixel i lies at i x (old side / new side)."""
    for axis in (1, 2):
        at = np.arange(side) * (x.shape[axis] / side)
        low = np.floor(at).astype(int)
        high = np.minimum(low + 1, x.shape[axis] - 1)
        part = (at - low).reshape([-1, 1, 1] if axis == 1 else [-1, 1])
        x = np.take(x, low, axis) * (1 - part) + np.take(x, high, axis) * part
    return x


def block(x, weights, name, stride=1):
    def get(part):
        return weights[f"{name}/{part}"].astype(np.float64)

    x = oracles.conv2d(x, get("conv2d_params"))[:, ::stride, ::stride]
    x = (x - get("batchnorm/moving_mean")) / np.sqrt(
        get("batchnorm/moving_variance") + 0.001
    )  # not scaled by gamma
    return np.maximum(x + get("batchnorm/beta"), 0)


def expected(images, weights):
    """(features, probabilities) of uint8 [N, H, W, 3]."""
    x = (resized(images.astype(np.float64), detector_files.SIDE) - 128) / 128
    x = block(x, weights, "conv", stride=2)
    towers = [block(x, weights, name) for name in ("mixed/conv", "mixed/tower/conv")]
    features = np.concatenate(towers, axis=-1).mean(axis=(1, 2))
    logits = features @ weights["softmax/weights"]
    powers = np.exp(logits)
    return features, powers / powers.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("shape", [(3, 19, 19, 3), (5, 32, 40, 3), (1, 7, 50, 3)])
def test_inception_features_and_probabilities(detector, graph, shape):
    images = pixels(*shape)
    features, probabilities = expected(images, graph[1])
    found = detector.features(images)
    assert found.dtype == np.float32 and found.shape == (len(images), detector.dims)
    np.testing.assert_allclose(found, features, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        detector.probabilities(images), probabilities, rtol=1e-4, atol=1e-6
    )
    assert detector.classes == 5 and detector.dims == 6


def test_inception_batches_and_grey_images(detector, graph):
    grey = pixels(inception.BATCH + 3, 9, 9, 1)
    features, _ = expected(np.repeat(grey, 3, axis=3), graph[1])
    np.testing.assert_allclose(detector.features(grey), features, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (pixels(2, 8, 8, 4), r"1 or 3 channels, got \[2, 8, 8, 4\]"),
        (pixels(2, 8, 8, 2), "1 or 3 channels"),
        (pixels(8, 8, 3), r"got \[8, 8, 3\]"),
        (pixels(0, 8, 8, 3), "at least one image"),
        (np.zeros([2, 8, 8, 3], np.float32), "must be uint8 .* got float32"),
    ],
)
def test_inception_refuses_other_images(detector, images, words):
    with pytest.raises(ValueError, match=words):
        detector.features(images)


def archive(members):
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as writer:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            writer.addfile(info, io.BytesIO(data))
    return target.getvalue()


@pytest.mark.parametrize("member", [GRAPH, f"./{GRAPH}", f"inception/{GRAPH}"])
def test_inception_from_the_archive(graph, detector, member, tmp_path):
    members = {"imagenet_synset_to_human_label_map.txt": b"n00004475\torganism\n"}
    members[member] = graph[0].SerializeToString()
    path = tmp_path / "inception-2015-12-05.tgz"
    path.write_bytes(archive(members))
    images = pixels(2, 19, 19, 3)
    for where in (tmp_path, path):
        found = inception.load(where, download=False)
        np.testing.assert_array_equal(found.features(images), detector.features(images))
        assert found.manifest["files"][0]["file"] == path.name


def test_inception_manifest_is_json(detector):
    manifest = json.loads(json.dumps(detector.manifest))
    assert manifest["files"][0]["file"] == GRAPH
    assert len(manifest["files"][0]["sha256"]) == 64
    assert manifest["files"][0]["checked"].startswith("nothing")
    assert manifest["features"] == "pool_3" and "bilinear" in manifest["resize"]


def without(name):
    def change(graph):
        del graph.node[[node.name for node in graph.node].index(name)]

    return change


def with_effect(graph):
    """pool_3 waits for a file to be written."""
    writer = graph.node.add(name="write", op="WriteFile")
    for name in ("name", "text"):
        node = graph.node.add(name=name, op="Const")
        node.attr["dtype"].type = tf.string.as_datatype_enum
        node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto("never"))
        writer.input.append(name)
    next(node for node in graph.node if node.name == "pool_3").input.append("^write")


def unconnected(graph):
    nodes = {node.name: node for node in graph.node}
    nodes["ResizeBilinear"].input[0] = "image"
    graph.node.add(name="image", op="Placeholder").attr["dtype"].type = 1


def other_weights(graph):
    nodes = {node.name: node for node in graph.node}
    nodes["softmax/logits/MatMul"].input[1] = "softmax/biases"


def unknown_op(graph):
    next(node for node in graph.node if node.name == "pool_3").op = "NoSuchPool"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without("pool_3"), "lacks the node pool_3"),
        (without("ExpandDims"), "lacks the node ExpandDims"),
        (without("softmax/logits/MatMul"), "lacks the node softmax/logits/MatMul"),
        (without("softmax/weights"), "lacks the node softmax/weights"),
        (without("conv/batchnorm/beta"), "lacks the node conv/batchnorm/beta"),
        (with_effect, "node write does more than compute: it is a WriteFile"),
        (unconnected, "pool_3 of the graph does not depend on ExpandDims"),
        (other_weights, r"softmax/biases of the graph must be \[D, classes\], got \[5"),
        (unknown_op, "cannot be run: .*NoSuchPool"),
    ],
)
def test_inception_refuses_other_graphs(graph, change, words, tmp_path):
    changed = tf.compat.v1.GraphDef()
    changed.CopyFrom(graph[0])
    change(changed)
    (tmp_path / GRAPH).write_bytes(changed.SerializeToString())
    with pytest.raises(ValueError, match=words) as caught:
        inception.load(tmp_path, download=False)
    assert str(caught.value).startswith(str(tmp_path / GRAPH))


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        (GRAPH, b"\xff\xff no graph", "holds no TensorFlow graph"),
        (GRAPH, b"", "lacks the node ExpandDims"),
        ("inception-2015-12-05.tgz", b"no archive", "archive cannot be read"),
        ("inception-2015-12-05.tgz", archive({"a": b""}), f"archive holds no {GRAPH}"),
        (
            "inception-2015-12-05.tgz",
            archive({GRAPH: np.random.RandomState(0).bytes(9999)})[:5000],
            "archive cannot be read",
        ),
    ],
)
def test_inception_refuses_broken_files(name, data, words, tmp_path):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError, match=words):
        inception.load(tmp_path, download=False)


def test_inception_that_is_missing_is_unavailable(tmp_path, monkeypatch):
    monkeypatch.setenv("TFSTYLEGAN_CACHE", str(tmp_path / "cache"))
    words = f"inception-2015-12-05.tgz or {GRAPH}.* is missing: it is not in {tmp_path}"
    with pytest.raises(files.Unavailable, match=words):
        inception.load(tmp_path, download=False)
