"""A small classifier of the data's own labels as detector, trained once a data set."""

import hashlib
import json
import pathlib

import keras
import numpy as np
import tensorflow as tf
from absl import logging

from tfstylegan import cache
from tfstylegan.data import pipeline
from tfstylegan.metrics.detectors import files, maps

VERSION = 1  # of the recipe; to be raised when anything below changes
SEED = 20181212
WIDTHS = (16, 32, 64)  # of the convolutions, each at half the size of the one before
DIMS = 64
STEPS, BATCH = 1000, 64
MOST_IMAGES = 50_000
HELD_OUT = 10  # every tenth image tells the accuracy and is not learned from


class Classifier:
    """Features before the last layer, probabilities, distances, attributes.

    Args:
      network: images in [-1, 1] to (maps of the convolutions, features, logits).
      manifest: what it was trained on and how well it does.
    """

    def __init__(self, network, manifest):
        self.dims = DIMS
        self.manifest = manifest
        self._network = tf.function(network, reduce_retracing=True)

    def features(self, images):
        """uint8 [N, H, W, C] to [N, dims]."""
        return self._of(images)[1].numpy()

    def probabilities(self, images):
        """uint8 [N, H, W, C] to [N, classes]."""
        return tf.nn.softmax(self._of(images)[2]).numpy()

    def distance(self, a, b):
        """Of images [N, H, W, C] in [0, 255]: [N]."""
        both = np.concatenate([a, b]).astype(np.float32) * (2 / 255) - 1
        layers = self._network(tf.constant(both))[0]
        x, y = zip(*(tf.split(layer, 2) for layer in layers), strict=True)
        return maps.unit_distance(x, y).numpy()

    def attributes(self, images):
        """Of images in [-1, 1]: whether they are of each class, [classes, N, 2]."""
        images = tf.constant(images, tf.float32)
        p = tf.transpose(tf.nn.softmax(self._network(images)[2]))  # [classes, N]
        return tf.stack([p, 1 - p], axis=-1).numpy()

    def _of(self, images):
        return self._network(pipeline.to_float(tf.constant(images)))


def of_source(source, folder):
    """The `Classifier` of a `data.sources.Source`, from the cache or newly trained.

    folder: of the weights, which make numbers comparable: training again on
    another machine gives slightly others.

    Raises files.Unavailable where the data have no labels of classes.
    """
    classes = _classes(source)
    network = _build(source.images(np.arange(1)).shape[1:], source.label_dim)
    circumstances = [VERSION, source.fingerprint, source.label_dim]
    key = hashlib.sha256(json.dumps(circumstances).encode()).hexdigest()[:32]
    file = pathlib.Path(folder) / f"classifier-{key}.npz"
    stored = cache.load(file)
    if stored is None:
        logging.info("training a classifier on the labels of %s", source.description)
        stored = {"accuracy": _train(network, source, classes)}
        stored |= {f"w{i}": w for i, w in enumerate(network.get_weights())}
        # Of processes that trained one at the same time all take the first.
        earlier = cache.load(file)
        if earlier is None:
            cache.store(file, stored)
        stored = earlier or stored
    network.set_weights([stored[f"w{i}"] for i in range(len(network.weights))])
    accuracy = float(stored["accuracy"])
    digest = hashlib.sha256(b"".join(w.tobytes() for w in network.get_weights()))
    manifest = {
        "detector": "classifier",
        "sha256": digest.hexdigest(),
        "data": source.fingerprint,
        "accuracy": accuracy,
        "dims": DIMS,
        "resize": "none",
    }
    return Classifier(network, manifest)


def _classes(source):
    """Class numbers [N] of one-hot labels."""
    if not source.label_dim:
        raise files.Unavailable(
            f"a classifier needs labels, and {source.description} has none"
        )
    labels = np.asarray(source.labels)
    if not (np.isin(labels, (0, 1)).all() and (labels.sum(axis=1) == 1).all()):
        raise files.Unavailable(
            "a classifier needs labels that are one class each; those of "
            f"{source.description} are not"
        )
    return labels.argmax(axis=1)


def _build(image_shape, classes):
    """Keras model: images [N, H, W, C] to (maps, features [N, DIMS], logits)."""
    seeds = iter(range(SEED, SEED + 100))

    def kernel():
        return keras.initializers.HeNormal(seed=next(seeds))

    x = images = keras.Input(image_shape)
    layers = []
    for width in WIDTHS:
        x = keras.layers.Conv2D(
            width, 3, padding="same", activation="relu", kernel_initializer=kernel()
        )(x)
        layers.append(x)
        x = keras.layers.MaxPool2D(2, padding="same")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = features = keras.layers.Dense(
        DIMS, activation="relu", kernel_initializer=kernel()
    )(x)
    logits = keras.layers.Dense(classes, kernel_initializer=kernel())(x)
    return keras.Model(images, [layers, features, logits])


def _train(network, source, classes):
    """Trains it in place; returns the accuracy on the images held out."""
    count = min(len(source), MOST_IMAGES)
    images = np.concatenate(list(pipeline.real_images(source, count, seed=SEED)))
    held = np.arange(count) % HELD_OUT == 0
    if held.all():
        held[:] = False  # too few to hold any out
    learned = np.flatnonzero(~held)
    adam = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(1e-3, STEPS))
    adam.build(network.trainable_variables)

    @tf.function
    def step(x, y):
        with tf.GradientTape() as tape:
            logits = network(pipeline.to_float(x))[2]
            loss = tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits)
            loss = tf.reduce_mean(loss)
        adam.apply(tape.gradient(loss, network.trainable_variables))

    draw = np.random.RandomState(SEED)
    for _ in range(STEPS):
        rows = draw.choice(learned, BATCH)
        step(tf.constant(images[rows]), tf.constant(classes[rows]))
    rows = np.flatnonzero(held if held.any() else ~held)
    right = [
        network(pipeline.to_float(tf.constant(images[part])))[2].numpy().argmax(axis=1)
        == classes[part]
        for part in np.array_split(rows, -(-len(rows) // 256))
    ]
    return float(np.concatenate(right).mean())
