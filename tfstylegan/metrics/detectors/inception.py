"""Inception of 2015-12-05, the network of FID, KID and the inception score.

The graph that TensorFlow published in 2015, run as it is: its own resizing to 299x299
(bilinear, corners not aligned, no smoothing), its own kernels of batch normalisation.
It was made for one JPEG file at a time; here what decodes it is cut off, and with it
the batch of 1.
"""

import pathlib
import tarfile
import zlib

import numpy as np
from scipy import special

from tfstylegan.metrics.detectors import files, images

GRAPH = "classify_image_graph_def.pb"
WANTED = files.Wanted(
    names=("inception-2015-12-05.tgz", GRAPH),
    publisher="TensorFlow",
    # That is http://download.tensorflow.org, which has no https.
    url="https://storage.googleapis.com/download.tensorflow.org/models/image/imagenet/"
    "inception-2015-12-05.tgz",
)
PIXELS = "ExpandDims"  # makes a batch of 1 of the decoded file [H, W, 3], in [0, 255]
POOL = "pool_3"  # [N, 1, 1, D]
LOGITS = "softmax/logits/MatMul"  # before the bias is added
MOST_BYTES = 1 << 30  # of a graph; the published one has 96 MB
BATCH = 64


def load(where: str | pathlib.Path | None = None, *, download: bool = True):
    """The `Inception` of a file; see `files.find`."""
    found = files.find(WANTED, where, download=download)
    try:
        return Inception(_graph_def(found.path), found.manifest)
    except ValueError as error:
        raise ValueError(f"{found.path}: {error}") from error


class Inception:
    """Features [N, dims] and class probabilities [N, classes] of images."""

    name = "inception-2015-12-05"

    def __init__(self, graph_def, file: dict):
        import tensorflow as tf

        weights, graph_def = _pruned(graph_def)
        # A session, because this graph's batch normalisation exists for graphs of its
        # age only, and functions of TensorFlow 2 are always of its own.
        options = tf.compat.v1.ConfigProto()
        options.gpu_options.allow_growth = True
        graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=graph, config=options)
        try:
            with graph.as_default():
                tf.graph_util.import_graph_def(graph_def, name="")
            _check_ops(graph)
            self.weights = self._session.run(f"{weights}:0")  # [D, classes]
        except tf.errors.OpError as error:
            raise ValueError(f"the graph cannot be run: {error.message}") from error
        if self.weights.ndim != 2:
            raise ValueError(
                f"{weights} of the graph must be [D, classes], got "
                f"{list(self.weights.shape)}"
            )
        self.dims, self.classes = self.weights.shape
        self.manifest = {
            "detector": self.name,
            "files": [file],
            "resize": "in the graph: bilinear, corners not aligned, not smoothed",
            "features": POOL,
            "probabilities": "softmax(features x softmax/weights), without the bias",
        }

    def features(self, pixels: np.ndarray) -> np.ndarray:
        """uint8 [N, H, W, C] to float32 [N, dims]."""
        return images.in_batches(self._features, images.pixels(pixels), size=BATCH)

    def _features(self, pixels):
        feeds = {f"{PIXELS}:0": pixels.astype(np.float32)}
        pool = self._session.run(f"{POOL}:0", feeds)  # [N, 1, 1, D]
        if pool.size != len(pixels) * self.dims:
            raise ValueError(
                f"{POOL} of the graph must be [N, 1, 1, {self.dims}], got "
                f"{list(pool.shape)}"
            )
        return pool.reshape(len(pixels), self.dims)

    def probabilities(self, pixels: np.ndarray) -> np.ndarray:
        """uint8 [N, H, W, C] to float32 [N, classes], as the inception score uses them.

        Without the bias of the logits, as the score's authors computed it and as
        published scores of these networks are.
        """
        return self.classify(self.features(pixels))

    def classify(self, features: np.ndarray) -> np.ndarray:
        """The `probabilities` of images with these features [N, dims]."""
        return special.softmax(features @ self.weights, axis=1)


def _graph_def(path):
    """The GraphDef in a .pb file, or in the archive that holds it."""
    import tensorflow as tf
    from google.protobuf import message

    data = _packed(path) if path.name.endswith(".tgz") else path.read_bytes()
    graph_def = tf.compat.v1.GraphDef()
    try:
        graph_def.ParseFromString(data)
    except message.DecodeError as error:
        raise ValueError(f"it holds no TensorFlow graph: {error}") from error
    return graph_def


def _packed(path):
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                if pathlib.PurePosixPath(member.name).name == GRAPH and member.isfile():
                    if member.size > MOST_BYTES:
                        raise ValueError(f"{GRAPH} has {member.size} bytes")
                    return archive.extractfile(member).read()
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise ValueError(f"the archive cannot be read: {error}") from error
    raise ValueError(f"the archive holds no {GRAPH}")


def _pruned(graph_def):
    """(node of the weights, GraphDef): what leads from `PIXELS` to `POOL`, and these.

    PIXELS itself becomes the input, of any batch and size. Raises ValueError where a
    node is missing.
    """
    import tensorflow as tf

    nodes = {node.name: node for node in graph_def.node}
    for name in (PIXELS, POOL, LOGITS):
        if name not in nodes:
            raise ValueError(f"the graph lacks the node {name}")
    if len(nodes[LOGITS].input) != 2:
        raise ValueError(f"{LOGITS} of the graph must have 2 inputs")
    weights = _node_of(nodes[LOGITS].input[1])
    kept, waiting = set(), [POOL, weights]
    while waiting:
        name = waiting.pop()
        if name in kept:
            continue
        if name not in nodes:
            raise ValueError(f"the graph lacks the node {name}")
        kept.add(name)
        if name != PIXELS:
            waiting += map(_node_of, nodes[name].input)
    if PIXELS not in kept:
        raise ValueError(f"{POOL} of the graph does not depend on {PIXELS}")
    pruned = tf.compat.v1.GraphDef(versions=graph_def.versions)
    for node in graph_def.node:  # in their order
        if node.name == PIXELS:
            made = pruned.node.add(name=PIXELS, op="Placeholder")
            made.attr["dtype"].type = tf.float32.as_datatype_enum
            shape = made.attr["shape"].shape
            for size in (-1, -1, -1, 3):
                shape.dim.add(size=size)
        elif node.name in kept:
            pruned.node.add().CopyFrom(node)
    return weights, pruned


def _node_of(reference):
    """conv of "conv", "conv:1" and "^conv"."""
    return reference.removeprefix("^").partition(":")[0]


def _check_ops(graph):
    """Raises ValueError for ops with effects, such as files to write or code to run."""
    for op in graph.get_operations():
        if op.op_def.is_stateful and op.type != "CheckNumerics":
            raise ValueError(
                f"the graph's node {op.name} does more than compute: it is a {op.type}"
            )
