"""Our dataset of TFRecord shards: what is in it, how it is made, what damage says."""

import concurrent.futures
import functools
import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from test_commands import contents

from tfstylegan.data import collection, images, recipe
from tfstylegan.data.formats import folder
from tfstylegan.data.tfrecords import record_job, record_writer, records


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def smooth(count, height, width):
    """Pictures that compress as photographs do."""
    for i in range(count):
        image = Image.fromarray(noise(6, 8, 3, seed=i))
        yield image.resize((width, height), Image.Resampling.BICUBIC)


def arrays(pixels, labels=None):
    """Picklable function that opens a collection of an array."""
    labels = collection.no_labels(len(pixels)) if labels is None else labels
    return functools.partial(
        collection.ArrayCollection, "memory", "array", pixels, labels
    )


def files(path):
    return functools.partial(folder.open_collection, str(path))


def write(outdir, open_source, *, shards=2, workers=1, size=None, **options):
    names = {"channels", "filter", "fit", "encoding", "srgb"} & options.keys()
    made = recipe.Recipe(size=size, **{name: options.pop(name) for name in names})
    job = record_job.Job(
        open_source=open_source,
        outdir=outdir,
        recipe=made,
        shards=shards,
        workers=workers,
        **options,
    )
    record_writer.write(job)
    return records.open_collection(outdir)


def pixels_of(dataset, channels=3):
    size = dict(zip(("height", "width"), dataset.manifest["size"]))
    return np.stack(
        [
            images.decode(dataset.read(i), channels=channels, **size)
            for i in range(len(dataset))
        ]
    )


# What is in it.


@pytest.mark.parametrize("encoding", ["png", "webp"])
@pytest.mark.parametrize("channels", ["1", "3", "4"])
def test_pixels_names_and_order_are_those_of_the_source(tmp_path, encoding, channels):
    pixels = noise(7, 8, 12, int(channels))
    dataset = write(
        tmp_path / "d", arrays(pixels), shards=3, channels=channels, encoding=encoding
    )
    np.testing.assert_array_equal(pixels_of(dataset, int(channels)), pixels)
    assert dataset.names == [str(i) for i in range(7)]
    assert [shard["images"] for shard in dataset.manifest["shards"]] == [2, 2, 3]
    assert dataset.labels.shape == (7, 0)


@pytest.mark.parametrize("kind", ["class", "vector", "none"])
def test_tensorflow_reads_the_records(tmp_path, kind):
    pixels = noise(5, 8, 8, 3)
    labels = {
        "class": np.eye(4, dtype=np.float32)[[3, 1, 1, 0, 2]],
        "vector": np.random.default_rng(1).normal(size=(5, 3)).astype(np.float32),
        "none": collection.no_labels(5),
    }[kind]
    ours = write(tmp_path / "d", arrays(pixels, labels))
    assert ours.manifest["labels"] == {"kind": kind, "width": labels.shape[1]}
    np.testing.assert_array_equal(ours.labels, labels)
    shards = sorted(map(str, (tmp_path / "d").glob("*.tfrecords")))
    assert [shard[-15:-10] for shard in shards] == ["00002", "00002"]
    for i, record in enumerate(tf.data.TFRecordDataset(shards)):
        feature = tf.train.Example.FromString(record.numpy()).features.feature
        image = tf.io.decode_png(feature["image"].bytes_list.value[0], channels=3)
        np.testing.assert_array_equal(image, pixels[i])
        assert feature["name"].bytes_list.value[0] == str(i).encode()
        assert ("label" in feature) == (kind != "none")
        stored = feature["label"].int64_list.value or feature["label"].float_list.value
        expected = [labels[i].argmax()] if kind == "class" else labels[i]
        np.testing.assert_array_equal(np.float32(stored), expected)


def test_many_threads_read_at_once(tmp_path):
    pixels = noise(40, 16, 16, 3)
    dataset = write(tmp_path / "d", arrays(pixels), shards=5)
    order = np.random.default_rng(0).integers(40, size=400)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        read = list(pool.map(lambda i: images.load_pixels(dataset.read(i)), order))
    np.testing.assert_array_equal(read, pixels[order])


def test_names_with_spaces_and_letters_of_any_language(tmp_path):
    source = tmp_path / "mein Ordner"
    (source / "猫").mkdir(parents=True)
    names = ["a b.png", "äöü ß.png", "猫/ねこ.png", "x\udcff.png"]
    for name, image in zip(names, smooth(4, 8, 8)):
        image.save(source / name)
    dataset = write(tmp_path / "daten ä", files(source))
    assert sorted(dataset.names) == sorted(names)
    assert (
        dataset.read(dataset.names.index("a b.png"))
        == (source / "a b.png").read_bytes()
    )


@pytest.mark.parametrize("mode", ["RGB", "P", "L"])
def test_a_set_of_pngs_takes_no_more_room_than_they_do(tmp_path, mode):
    (tmp_path / "png").mkdir()
    for i, image in enumerate(smooth(30, 64, 64)):
        image.convert(mode).save(tmp_path / "png" / f"{i:02}.png", optimize=True)
    write(tmp_path / "d", files(tmp_path / "png"))
    before, after = (
        sum(file.stat().st_size for file in (tmp_path / name).iterdir())
        for name in ("png", "d")
    )
    assert after < 1.3 * before
    write(tmp_path / "resized", files(tmp_path / "png"), size=(32, 32))
    assert sum(x.stat().st_size for x in (tmp_path / "resized").iterdir()) < before


@pytest.mark.parametrize("filter_", ["lanczos", "box", "bicubic"])
def test_filters_are_pillows(tmp_path, filter_):
    pixels = noise(2, 40, 60, 3)
    dataset = write(tmp_path / "d", arrays(pixels), size=(16, 16), filter=filter_)
    kernel = getattr(Image.Resampling, filter_.upper())
    for i, made in enumerate(pixels_of(dataset)):
        centre = Image.fromarray(pixels[i][:, 10:50])
        np.testing.assert_array_equal(made, centre.resize((16, 16), kernel))
    assert dataset.manifest["filter"] == filter_


# Which images, in which order.


def test_bytes_do_not_depend_on_the_number_of_workers(tmp_path):
    (tmp_path / "png").mkdir()
    for i, image in enumerate(smooth(150, 24, 24)):
        image.save(tmp_path / "png" / f"{i:03}.png")
    options = {"size": (16, 16), "shards": 3, "shuffle_seed": 5}
    source = files(tmp_path / "png")
    (tmp_path / "many").mkdir()
    one = write(tmp_path / "d", source, **options)
    many = write(tmp_path / "many" / "d", source, workers=2, **options)
    assert contents(tmp_path / "d") == contents(tmp_path / "many" / "d")
    assert one.names == many.names != sorted(one.names)


def test_shuffle_max_images_and_keep(tmp_path):
    source = arrays(noise(30, 4, 4, 3))
    straight = write(tmp_path / "a", source, max_images=10)
    assert straight.names == [str(i) for i in range(10)]
    orders = [
        write(tmp_path / f"s{seed}", source, shuffle_seed=seed).names for seed in (0, 1)
    ]
    assert sorted(orders[0]) == sorted(orders[1]) and orders[0] != orders[1]
    few = write(tmp_path / "b", source, shuffle_seed=1, max_images=7)
    assert few.names == orders[1][:7]
    kept = write(tmp_path / "c", source, keep=[3, 20, 8])
    assert kept.names == ["3", "20", "8"]
    np.testing.assert_array_equal(pixels_of(kept), noise(30, 4, 4, 3)[[3, 20, 8]])


def test_labels_replace_those_of_the_source(tmp_path):
    source = arrays(noise(4, 4, 4, 3), np.eye(4, dtype=np.float32))
    other = np.float32([[0.5], [1], [2], [3]])
    dataset = write(tmp_path / "a", source, labels=other, shuffle_seed=3)
    np.testing.assert_array_equal(
        dataset.labels[:, 0], other[list(map(int, dataset.names))][:, 0]
    )
    with pytest.raises(ValueError, match="4 images; got 3"):
        write(tmp_path / "b", source, labels=other[:3])


def test_number_of_shards(tmp_path):
    source = arrays(noise(5, 4, 4, 3))
    assert len(write(tmp_path / "a", source, shards=None).manifest["shards"]) == 1
    with pytest.raises(ValueError, match="from 1 to .* 5; got 6"):
        write(tmp_path / "b", source, shards=6)
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]


# Images that do not go together, or cannot be read.


@pytest.fixture
def mixed(tmp_path):
    """Two sizes, one truncated PNG, one text; a hundred bytes do not make an image."""
    source = tmp_path / "mixed"
    source.mkdir()
    for i, image in enumerate(smooth(6, 16, 16)):
        image.save(source / f"{i}.png")
    next(smooth(1, 20, 24)).save(source / "wide.jpg")
    data = (source / "3.png").read_bytes()
    (source / "3.png").write_bytes(data[: len(data) // 2])
    (source / "text.png").write_text("no image")
    return source


def test_several_sizes_are_told(tmp_path, mixed):
    with pytest.raises(ValueError, match=r"2 sizes, 16x16 \(6\), 20x24 \(1\).*--size"):
        write(tmp_path / "d", files(mixed))
    assert list(tmp_path.iterdir()) == [mixed]


def test_odd_sizes_are_told(tmp_path):
    with pytest.raises(ValueError, match="got 15x16, near it is 16x16"):
        write(tmp_path / "d", arrays(noise(3, 15, 16, 3)))


def test_broken_images_are_an_error_or_left_out(tmp_path, mixed):
    with pytest.raises(ValueError, match=r"2 of 8 .* first is 3.png \(.*skip_corrupt"):
        write(tmp_path / "d", files(mixed), size=(16, 16), shards=4)
    assert not (tmp_path / "d").exists()
    dataset = write(
        tmp_path / "d", files(mixed), size=(16, 16), shards=4, skip_corrupt=True
    )
    assert dataset.names == ["0.png", "1.png", "2.png", "4.png", "5.png", "wide.jpg"]
    assert [name for name, _ in dataset.manifest["skipped"]] == ["3.png", "text.png"]
    assert pixels_of(dataset).shape == (6, 16, 16, 3)


def test_no_image_at_all(tmp_path):
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "a.png").write_text("no image")
    with pytest.raises(ValueError, match="a.png"):
        write(
            tmp_path / "d",
            files(tmp_path / "s"),
            shards=1,
            size=(4, 4),
            skip_corrupt=True,
        )
    assert not (tmp_path / "d").exists()


# Going on, and not overwriting.


def test_finished_shards_are_kept_and_changed_ones_made_again(tmp_path, monkeypatch):
    source = arrays(noise(12, 8, 8, 3))
    write(tmp_path / "whole" / "d", source, shards=4)
    finished = record_writer.shard_file.ShardFile.finish
    count = []

    def fail_at_the_fourth(self):
        count.append(self.path)
        if len(count) == 4:
            raise OSError(28, "No space left on device")
        finished(self)

    monkeypatch.setattr(
        record_writer.shard_file.ShardFile, "finish", fail_at_the_fourth
    )
    with pytest.raises(OSError, match="No space left on device; .*same command"):
        write(tmp_path / "d", source, shards=4)
    monkeypatch.undo()
    assert not (tmp_path / "d").exists()
    partial = tmp_path / ".d.partial"
    first, second, third = sorted(partial.glob("*.tfrecords"))
    second.write_bytes(second.read_bytes()[:-1] + b"?")
    third.with_suffix(".json").unlink()
    kept = first.stat().st_ino, first.stat().st_mtime_ns
    write(tmp_path / "d", source, shards=4)
    assert contents(tmp_path / "d") == contents(tmp_path / "whole" / "d")
    status = (tmp_path / "d" / first.name).stat()
    assert (status.st_ino, status.st_mtime_ns) == kept
    assert not partial.exists()


def test_a_finished_dataset_is_verified_and_not_written_again(tmp_path):
    source = arrays(noise(6, 8, 8, 3))
    write(tmp_path / "d", source)
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "d").iterdir()}
    write(tmp_path / "d", source)
    assert before == {f: f.stat().st_mtime_ns for f in (tmp_path / "d").iterdir()}
    with pytest.raises(ValueError, match="other settings .*shuffle_seed.*remove it"):
        write(tmp_path / "d", source, shuffle_seed=1)
    shard = next((tmp_path / "d").glob("*.tfrecords"))
    shard.write_bytes(shard.read_bytes()[:-1] + b"?")
    with pytest.raises(ValueError, match=f"{shard.name} has changed"):
        write(tmp_path / "d", source)


def test_what_stands_there_already_is_not_touched(tmp_path):
    source = arrays(noise(6, 8, 8, 3))
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "mine").write_text("x")
    (tmp_path / "file").write_text("x")
    for name in ("d", "file"):
        with pytest.raises(ValueError, match="new or empty"):
            write(tmp_path / name, source)
    (tmp_path / "empty").mkdir()
    assert len(write(tmp_path / "empty", source)) == 6
    assert (tmp_path / "d" / "mine").read_text() == "x"


# Damage.


@pytest.fixture
def dataset(tmp_path):
    write(tmp_path / "d", arrays(noise(6, 8, 8, 3)))
    return tmp_path / "d"


def shard_of(dataset):
    return sorted(dataset.glob("*.tfrecords"))[1]


@pytest.mark.parametrize("place", ["length", "data"])
def test_a_bad_checksum_names_shard_and_record(dataset, place):
    shard = shard_of(dataset)
    second = json.loads(shard.with_suffix(".json").read_text())["offsets"][1]
    data = bytearray(shard.read_bytes())
    data[second + (2 if place == "length" else 50)] ^= 1
    shard.write_bytes(data)
    opened = records.open_collection(dataset)
    opened.read(3), opened.read(5)
    with pytest.raises(ValueError, match=rf"{shard.name}, record 1: .*CRC"):
        opened.read(4)
    with pytest.raises(ValueError, match=f"{shard.name} has changed"):
        records.verify(dataset)


def test_a_shard_that_is_cut_off_after_it_was_opened(dataset):
    opened = records.open_collection(dataset)
    shard = shard_of(dataset)
    shard.write_bytes(shard.read_bytes()[:-8])
    with pytest.raises(ValueError, match=rf"{shard.name}, record 2: the file ends"):
        opened.read(5)
    shard.unlink()
    with pytest.raises(ValueError, match=rf"{shard.name}, record 2: No such file"):
        opened.read(5)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: shard_of(d).unlink(), "missing: .*00001-of-00002.tfrecords"),
        (lambda d: shard_of(d).with_suffix(".json").unlink(), "missing: .*json"),
        (lambda d: shard_of(d).write_bytes(b"short"), "must have .* it has 5"),
        (
            lambda d: shard_of(d).with_suffix(".json").write_text("{}"),
            "not of the same dataset",
        ),
        (lambda d: (d / "manifest.json").write_text("{"), "manifest.json is damaged"),
        (lambda d: (d / "manifest.json").write_text("[]"), "manifest.json"),
        (lambda d: (d / "manifest.json").write_text("{}"), "no manifest of a dataset"),
        (
            lambda d: (d / "manifest.json").write_text(
                (d / "manifest.json")
                .read_text()
                .replace('"version": 1', '"version": 9')
            ),
            "version 9",
        ),
    ],
)
def test_damage_is_told_when_a_dataset_is_opened(dataset, damage, message):
    assert records.is_dataset(dataset) and not records.is_dataset(dataset.parent)
    (dataset.parent / "manifest.json").write_text("{}")  # what else has this name
    assert not records.is_dataset(dataset.parent)
    damage(dataset)
    with pytest.raises(ValueError, match=message):
        records.open_collection(dataset)
