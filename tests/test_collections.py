"""Data formats, each written by its usual library, come back pixel by pixel."""

import concurrent.futures
import gzip
import io
import json
import pickle
import struct
import tarfile
import zipfile

import numpy as np
import pytest
import scipy.io
import tensorflow as tf
from PIL import Image

from tfstylegan.data import finding, sources

RNG = np.random.RandomState(0)
SIZE = 12  # images of every collection here


def noise(count=SIZE, side=8, channels=3):
    return RNG.randint(0, 256, [count, side, side, channels]).astype(np.uint8)


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels.squeeze()).save(file, "PNG")
    return file.getvalue()


def classes_of(count, classes=10):
    return RNG.permutation(np.arange(count) % classes)


def write_idx(path, array, opener=open):
    with opener(path, "wb") as file:
        shape = struct.pack(f">{array.ndim}I", *array.shape)
        file.write(bytes([0, 0, 8, array.ndim]) + shape + array.tobytes())


def mnist(folder, opener=gzip.open, ending=".gz"):
    images, labels = noise(channels=1), classes_of(SIZE)
    for name, array in [
        ("train-images-idx3-ubyte", images[..., 0]),
        ("train-labels-idx1-ubyte", labels.astype(np.uint8)),
    ]:
        write_idx(folder / (name + ending), array, opener)
    return f"mnist:{folder}", images, np.eye(labels.max() + 1)[labels]


def mnist_plain(folder):
    name, images, labels = mnist(folder, open, "")
    return f"{name}/train-images-idx3-ubyte", images, labels


def cifar(folder, kind, names, key, count):
    images, labels = noise(side=32), RNG.randint(0, count, SIZE)
    with tarfile.open(folder / f"{kind}.tar.gz", "w:gz") as archive:
        parts = zip(names, np.split(images, len(names)), np.split(labels, len(names)))
        for name, part, its in reversed(list(parts)):
            batch = {
                b"data": part.transpose(0, 3, 1, 2).reshape(len(part), -1),
                key: its.tolist(),
                b"filenames": [b"x.png"] * len(part),
            }
            data = pickle.dumps(batch, protocol=2)
            member = tarfile.TarInfo(f"{kind}-batches-py/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        other = tarfile.TarInfo(f"{kind}-batches-py/test_batch")
        archive.addfile(other, io.BytesIO(b""))
    return f"{kind}:{folder}/{kind}.tar.gz", images, np.eye(count)[labels]


def cifar10(folder):
    names = [f"data_batch_{i}" for i in range(1, 4)]
    return cifar(folder, "cifar10", names, b"labels", 10)


def cifar100(folder):
    return cifar(folder, "cifar100", ["train"], b"fine_labels", 100)


def svhn(folder):
    images, labels = noise(side=32), classes_of(SIZE)
    y = np.where(labels == 0, 10, labels)[:, np.newaxis].astype(np.uint8)
    x = images.transpose(1, 2, 3, 0)
    scipy.io.savemat(folder / "train_32x32.mat", {"X": x, "y": y})
    return f"svhn:{folder}/train_32x32.mat", images, np.eye(10)[labels]


def nvidia_records(folder):
    images = noise(side=16)
    for level in (4, 3, 2):
        path = str(folder / f"faces-r{level:02d}.tfrecords")
        with tf.io.TFRecordWriter(path) as writer:
            for image in images[:, :: 1 << 4 - level, :: 1 << 4 - level]:
                writer.write(example(image.transpose(2, 0, 1)))
    labels = RNG.normal(size=[SIZE, 5]).astype(np.float32)
    with open(folder / "faces-rxx.labels", "wb") as file:
        np.save(file, labels)
    return str(folder), images, labels


def example(image):  # uint8 [C, H, W]
    shape = tf.train.Feature(int64_list=tf.train.Int64List(value=image.shape))
    data = tf.train.Feature(bytes_list=tf.train.BytesList(value=[image.tobytes()]))
    features = tf.train.Features(feature={"shape": shape, "data": data})
    return tf.train.Example(features=features).SerializeToString()


def zip_stored(folder, compression=zipfile.ZIP_STORED):
    images, labels = noise(), classes_of(SIZE)
    names = [f"{i // 5:05d}/img{i:08d}.png" for i in range(SIZE)]
    with zipfile.ZipFile(folder / "a.zip", "w", compression) as archive:
        for i in RNG.permutation(SIZE):
            archive.writestr(names[i], png(images[i]))
        pairs = [[name, int(label)] for name, label in zip(names, labels)]
        archive.writestr("dataset.json", json.dumps({"labels": pairs}))
        archive.writestr("__MACOSX/._img.png", b"resource fork, not an image")
    return str(folder / "a.zip"), images, np.eye(labels.max() + 1)[labels]


def zip_deflated(folder):
    return zip_stored(folder, zipfile.ZIP_DEFLATED)


def folder_with_json(folder):
    images = noise()
    labels = RNG.normal(size=[SIZE, 3]).round(3)
    for i, image in enumerate(images):
        (folder / f"sub {i:02d} ü").mkdir()
        (folder / f"sub {i:02d} ü" / "bild ñ.png").write_bytes(png(image))
    pairs = [[f"sub {i:02d} ü/bild ñ.png", list(x)] for i, x in enumerate(labels)]
    (folder / "dataset.json").write_text(json.dumps({"labels": pairs[::-1]}))
    return str(folder), images, labels


def folder_of_classes(folder):
    images, labels = noise(), np.sort(classes_of(SIZE, 3))
    for i, (image, label) in enumerate(zip(images, labels)):
        (folder / "cat dog eel".split()[label]).mkdir(exist_ok=True)
        (folder / "cat dog eel".split()[label] / f"{i:03d}.png").write_bytes(png(image))
    return str(folder), images, np.eye(3)[labels]


def lsun(folder, kind="lsun:"):
    lmdb = pytest.importorskip("lmdb")
    images = noise()
    keys = sorted(RNG.bytes(20).hex().encode() for _ in images)
    write_lmdb(lmdb, folder / "bedroom_lmdb", keys, [webp(image) for image in images])
    return f"{kind}{folder}/bedroom_lmdb", images, np.zeros([SIZE, 0])


def lmdb_folder(folder):
    return lsun(folder, kind="")


def ffhq_lmdb(folder):
    lmdb = pytest.importorskip("lmdb")
    images = noise()
    keys = [f"{side}-{i:05d}".encode() for side in (8, 128) for i in range(SIZE)]
    values = [png(image[::2, ::2]) for image in images] + [png(x) for x in images]
    write_lmdb(lmdb, folder / "ffhq", [*keys, b"length"], [*values, b"12"])
    return f"lmdb:{folder}/ffhq", images, np.zeros([SIZE, 0])


def write_lmdb(lmdb, path, keys, values):
    with lmdb.open(str(path), map_size=1 << 24) as database:
        with database.begin(write=True) as transaction:
            for key, value in zip(keys, values):
                transaction.put(key, value)


def webp(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "WEBP", lossless=True)
    return file.getvalue()


FORMATS = [
    *(mnist, mnist_plain, cifar10, cifar100, svhn, nvidia_records),
    *(zip_stored, zip_deflated, folder_with_json, folder_of_classes),
    *(lsun, lmdb_folder, ffhq_lmdb),
]


@pytest.mark.parametrize("write", FORMATS, ids=lambda write: write.__name__)
def test_format_comes_back_as_it_was_written(write, tmp_path):
    name, images, labels = write(tmp_path)
    shape = dict(zip(["height", "width", "channels"], images.shape[1:]))
    cached = sources.open_source(name, **shape)
    on_demand = sources.open_source(name, **shape, cache_bytes=0)
    assert not isinstance(on_demand, sources.ArraySource)
    everything = np.arange(len(images))
    for source in (cached, on_demand):
        assert len(source) == len(images) and source.image_shape == images.shape[1:]
        np.testing.assert_array_equal(source.images(everything), images)
        np.testing.assert_array_equal(source.labels, labels.astype(np.float32))
        assert source.labels.dtype == np.float32
        assert source.label_dim == labels.shape[1]
        assert str(tmp_path) in source.description
    assert cached.fingerprint == on_demand.fingerprint
    # In any order, from several threads at once.
    order = RNG.randint(0, len(images), [8, 20])
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for indices, read in zip(order, pool.map(on_demand.images, order)):
            np.testing.assert_array_equal(read, images[indices])


@pytest.mark.parametrize("write", FORMATS, ids=lambda write: write.__name__)
def test_names_are_unique_and_the_first_images_can_be_had_alone(write, tmp_path):
    name, images, labels = write(tmp_path)
    shape = dict(zip(["height", "width", "channels"], images.shape[1:]))
    found = finding.open_collection(name, height=1, width=1)
    assert len(set(found.names)) == len(found.names) == len(found) == len(images)
    whole = sources.open_source(name, **shape)
    for cache_bytes in (0, 1 << 20):
        few = sources.open_source(name, **shape, max_images=5, cache_bytes=cache_bytes)
        np.testing.assert_array_equal(few.images(np.arange(5)), images[:5])
        np.testing.assert_array_equal(few.labels, labels[:5].astype(np.float32))
        assert len(few) == 5 and few.fingerprint != whole.fingerprint
    assert len(sources.open_source(name, **shape, max_images=99)) == len(images)
    without = sources.open_source(name, **shape, labels=False)
    assert without.labels.shape == (len(images), 0)


def test_zip_and_folder_of_the_same_images_are_the_same_data(tmp_path):
    name, _, _ = zip_stored(tmp_path)
    with zipfile.ZipFile(name) as archive:
        archive.extractall(tmp_path / "unpacked")
    shape = {"height": 8, "width": 8, "channels": 3}
    packed = sources.open_source(name, **shape)
    unpacked = sources.open_source(str(tmp_path / "unpacked"), **shape)
    assert packed.fingerprint == unpacked.fingerprint


def test_labels_are_part_of_the_fingerprint_if_they_are_read(tmp_path):
    name, _, _ = zip_stored(tmp_path)
    with zipfile.ZipFile(name) as archive:
        archive.extractall(tmp_path / "unpacked")
    file = tmp_path / "unpacked" / "dataset.json"
    pairs = json.loads(file.read_text())["labels"]
    pairs[0][1], pairs[1][1] = pairs[1][1], pairs[0][1] + 1
    file.write_text(json.dumps({"labels": pairs}))
    for labels in (True, False):
        first, second = (
            sources.open_source(path, height=8, width=8, channels=3, labels=labels)
            for path in (name, str(tmp_path / "unpacked"))
        )
        assert (first.fingerprint == second.fingerprint) == (not labels)


def test_nvidia_records_of_a_coarser_level_are_opened_by_their_name(tmp_path):
    name, images, _ = nvidia_records(tmp_path)
    source = sources.open_source(
        f"{name}/faces-r03.tfrecords", height=8, width=8, channels=3
    )
    np.testing.assert_array_equal(source.images(np.arange(SIZE)), images[:, ::2, ::2])
    assert source.label_dim == 5


def test_cifar_test_images_are_opened_by_their_name(tmp_path):
    pixels = noise(side=32)
    batch = {b"data": pixels.transpose(0, 3, 1, 2).reshape(SIZE, -1)}
    batch[b"labels"] = list(range(10)) + [3, 4]
    (tmp_path / "test_batch").write_bytes(pickle.dumps(batch))
    name = f"cifar10:{tmp_path}/test_batch"
    source = sources.open_source(name, height=32, width=32, channels=3)
    np.testing.assert_array_equal(source.images(np.arange(SIZE)), pixels)
