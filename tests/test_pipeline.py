"""The training stream: complete epochs, resumable position, mirror, distribution."""

import atexit
import re
import threading
import time

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tfstylegan.data import pipeline, sources


def numbered_source(size, height=2, width=3):
    """Image k and label k hold the number k; column 0 is darker than column 1."""
    pixels = np.zeros([size, height, width, 1], np.uint8)
    pixels[:, :, 0] = (np.arange(size) % 256)[:, np.newaxis, np.newaxis]
    pixels[:, :, 1:] = 255
    labels = np.arange(size, dtype=np.float32)[:, np.newaxis]
    return sources.ArraySource(pixels, labels, description="test", fingerprint="")


def take(source, images, **options):
    """The first `images` images and labels of a stream, [images, ...]."""
    options = {"batch_size": 4, "seed": 7} | options
    batches = -(-images // options["batch_size"])
    stream = pipeline.training_stream(source, **options).take(batches)
    image, label = zip(*((x["image"], x["label"]) for x in stream), strict=True)
    return np.concatenate(image)[:images], np.concatenate(label)[:images]


def order(size, images, **options):
    return take(numbered_source(size), images, **options)[1][:, 0].astype(int)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 16, 17, 100])
def test_stream_shows_every_image_once_an_epoch(size):
    epochs = order(size, 3 * size).reshape(3, size)
    for epoch in epochs:
        assert sorted(epoch) == list(range(size))


def test_stream_shuffles_anew_each_epoch_and_seed():
    epochs = order(100, 300).reshape(3, 100)
    orders = [*epochs, order(100, 100, seed=8), np.arange(100)]
    for i, first in enumerate(orders):
        for second in orders[:i]:
            assert np.mean(first == second) < 0.1  # 0.01 expected of strangers


def test_stream_order_is_uniform():
    # Where image 0 of 4 comes up, over 400 epochs: chi-squared with 3 degrees.
    place = np.argmin(order(4, 1600, batch_size=100).reshape(400, 4), axis=1)
    counts = np.bincount(place, minlength=4)
    assert np.sum((counts - 100) ** 2 / 100) < 16.3  # p = 0.001


@pytest.mark.parametrize("start", [1, 4, 10, 23])
@pytest.mark.parametrize("batch_size", [3, 4])
def test_stream_resumes_at_any_image_bit_for_bit(start, batch_size):
    source = numbered_source(10)
    whole = take(source, 40, mirror=True)
    rest = take(
        source, 40 - start, mirror=True, start_image=start, batch_size=batch_size
    )
    np.testing.assert_array_equal(rest[0], whole[0][start:])
    np.testing.assert_array_equal(rest[1], whole[1][start:])


@pytest.mark.parametrize("in_memory", [True, False])
def test_stream_of_some_rows_is_that_part_of_each_batch(monkeypatch, in_memory):
    if not in_memory:
        monkeypatch.setattr(pipeline, "TENSOR_BYTES", 0)
    source, rows = numbered_source(10), np.array([6, 1, 4])
    whole = take(source, 24, mirror=True, batch_size=8)
    options = {"batch_size": 8, "seed": 7, "mirror": True, "start_image": 0}
    stream = pipeline.training_stream(source, rows=rows, **options).take(3)
    for i, batch in enumerate(stream):
        np.testing.assert_array_equal(batch["image"], whole[0][8 * i + rows])
        np.testing.assert_array_equal(batch["label"], whole[1][8 * i + rows])
    assert i == 2


def test_stream_starts_far_along():
    far = 3_000_000_000  # images: more than 32 bits hold
    first = order(10, 12, start_image=far)
    assert sorted(first[:10]) == list(range(10))
    np.testing.assert_array_equal(order(10, 7, start_image=far + 5), first[5:])


def test_stream_keeps_images_and_labels_together():
    source = sources.open_source("digits", height=8, width=8, channels=1)
    image, label = take(source, 50, seed=3)
    known = {source.image(i).tobytes(): source.labels[i] for i in range(len(source))}
    for one, its_label in zip(image, label, strict=True):
        np.testing.assert_array_equal(known[one.tobytes()], its_label)


def test_mirror_flips_half_of_the_images_left_to_right():
    source = numbered_source(100)
    plain, plain_label = take(source, 1000)
    image, label = take(source, 1000, mirror=True)
    np.testing.assert_array_equal(label, plain_label)
    flipped = (image != plain).any(axis=(1, 2, 3))
    np.testing.assert_array_equal(image[flipped], plain[flipped][:, :, ::-1])
    assert 430 < flipped.sum() < 570
    again = [(flipped[:-lag] == flipped[lag:]).mean() for lag in (1, 4, 100)]
    assert max(abs(np.array(again) - 0.5)) < 0.08  # the coin is a new one each time


def test_coins_are_those_of_their_positions():
    def positions(first, size):
        return first + tf.range(size, dtype=tf.int64)

    whole = pipeline.coins(positions(0, 5000), 3).numpy()
    assert whole.dtype == bool and 0.47 < whole.mean() < 0.53
    for first, size in [(1020, 9), (1024, 1024), (1023, 1), (4000, 1000)]:
        part = pipeline.coins(positions(first, size), 3)
        np.testing.assert_array_equal(part, whole[first : first + size])
    assert np.mean(pipeline.coins(positions(0, 5000), 4) == whole) < 0.55


def test_order_over_many_epochs_in_a_batch():
    positions = 7 + tf.range(50, dtype=tf.int64)
    indices = pipeline.order(positions, 10, 5).numpy()
    single = [pipeline.order(positions[i : i + 1], 10, 5)[0] for i in range(50)]
    np.testing.assert_array_equal(indices, single)
    assert sorted(indices[3:13]) == sorted(indices[13:23]) == list(range(10))


@pytest.fixture
def folder(tmp_path):
    for i in range(7):
        pixels = np.random.RandomState(i).randint(0, 256, [4, 4, 3]).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    return tmp_path


def test_stream_is_the_same_wherever_the_images_are(folder, monkeypatch):
    shape = {"height": 4, "width": 4, "channels": 3}
    cached = sources.open_source(str(folder), **shape)
    on_demand = sources.open_source(str(folder), **shape, cache_bytes=0)
    expected = take(cached, 30, mirror=True)[0]
    assert len(np.unique(expected, axis=0)) > 7  # images and some of their mirrors
    np.testing.assert_array_equal(take(on_demand, 30, mirror=True)[0], expected)
    monkeypatch.setattr(pipeline, "TENSOR_BYTES", 0)
    np.testing.assert_array_equal(take(cached, 30, mirror=True)[0], expected)


def test_stream_names_the_file_that_vanished(folder):
    shape = {"height": 4, "width": 4, "channels": 3}
    source = sources.open_source(str(folder), **shape, cache_bytes=0)
    (folder / "3.png").unlink()
    with pytest.raises(tf.errors.OpError, match=re.escape(str(folder / "3.png"))):
        take(source, 7)
    batches = iter(pipeline.training_stream(source, batch_size=7, seed=0))
    with pytest.raises(OSError) as error:
        pipeline.next_of(batches)
    assert str(folder / "3.png") in str(error.value) and "\n" not in str(error.value)


def test_reads_are_over_before_python_is(monkeypatch):
    # Else processes hang at their end, now and then: reads that the interpreter cut
    # off never return, and the iterator's destructor waits for them.
    at_exit = []
    monkeypatch.setattr(atexit, "register", at_exit.append)
    reads = pipeline._Reads()
    begun, over = threading.Event(), []

    def slow():
        begun.set()
        time.sleep(0.3)
        over.append(True)

    thread = threading.Thread(target=lambda: reads.run(slow))
    thread.start()
    begun.wait()
    assert reads.run(lambda: "read") == "read"
    (close,) = at_exit
    close()
    assert over  # what was under way has been waited for
    assert reads.run(lambda: over.append(True)) is None and len(over) == 1
    thread.join()


def test_stream_declares_static_shapes():
    source = sources.open_source("digits", height=4, width=8, channels=3)
    spec = pipeline.training_stream(source, batch_size=5, seed=0).element_spec
    assert spec["image"] == tf.TensorSpec([5, 4, 8, 3], tf.uint8)
    assert spec["label"] == tf.TensorSpec([5, 10], tf.float32)


def test_stream_is_split_over_replicas_in_order():
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    source = numbered_source(10)
    stream = pipeline.training_stream(source, batch_size=4, seed=7)
    batches = iter(strategy.experimental_distribute_dataset(stream))
    labels = []
    for _ in range(8):
        parts = strategy.experimental_local_results(next(batches)["label"])
        assert [part.shape[0] for part in parts] == [2, 2]
        labels.extend(np.concatenate(parts)[:, 0].astype(int))
    np.testing.assert_array_equal(labels, order(10, 32))


def test_stream_refuses_bad_options():
    source = numbered_source(3)
    for options, complaint in [
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"start_image": -1}, "start_image must be at least 0, got -1"),
    ]:
        options = {"batch_size": 4, "seed": 0} | options
        with pytest.raises(ValueError, match=complaint):
            pipeline.training_stream(source, **options)
    with pytest.raises(ValueError, match="source must hold an image"):
        pipeline.training_stream(numbered_source(0), batch_size=4, seed=0)


def test_real_images_come_in_order_and_never_twice():
    source = numbered_source(10)
    batches = list(pipeline.real_images(source, 7, seed=0, batch_size=4))
    assert [len(batch) for batch in batches] == [4, 3]
    np.testing.assert_array_equal(np.concatenate(batches), source.pixels[:7])
    everything = np.concatenate(list(pipeline.real_images(source, 99, seed=0)))
    np.testing.assert_array_equal(everything, source.pixels)
    with pytest.raises(ValueError, match="count must be at least 1, got 0"):
        list(pipeline.real_images(source, 0, seed=0))


def test_real_images_mirror_does_not_depend_on_count_or_batch():
    source = numbered_source(200)
    before = source.pixels.copy()
    images = np.concatenate(
        list(pipeline.real_images(source, 200, seed=1, mirror=True))
    )
    flipped = (images != source.pixels).any(axis=(1, 2, 3))
    np.testing.assert_array_equal(images[flipped], source.pixels[flipped][:, :, ::-1])
    assert 60 < flipped.sum() < 140
    fewer = pipeline.real_images(source, 50, seed=1, mirror=True, batch_size=7)
    np.testing.assert_array_equal(np.concatenate(list(fewer)), images[:50])
    np.testing.assert_array_equal(source.pixels, before)


def test_float_conversion_covers_the_range_and_comes_back():
    levels = np.arange(256, dtype=np.uint8)
    floats = pipeline.to_float(levels)
    assert floats.dtype == tf.float32
    np.testing.assert_allclose(floats, levels / 127.5 - 1, atol=1e-6)
    np.testing.assert_array_equal(pipeline.to_uint8(floats), levels)


def test_to_uint8_floors_and_clips():
    x = tf.constant([-9.0, -1.004, -1.0, 0.0, 0.0038, 0.004, 1.0, 9.0])
    expected = [0, 0, 0, 128, 128, 128, 255, 255]
    np.testing.assert_array_equal(pipeline.to_uint8(x), expected)
    assert pipeline.to_uint8(tf.constant([0.0079])).numpy() == 129
    # Half precision would step by 0.125 near 255 and round 254.97 up to 255.
    half = tf.constant([0.9956], tf.float16)
    exact = np.floor(np.float32(half.numpy()) * 127.5 + 128)
    np.testing.assert_array_equal(pipeline.to_uint8(half), exact)


@pytest.mark.parametrize("size", [(16, 16, 3), (8, 24, 1)])
def test_levels_are_those_of_a_stored_pyramid_within_rounding(size):
    """The published records hold 2x2 means of the finer level's floats, rounded."""
    images = np.random.randint(0, 256, [4, *size]).astype(np.uint8)
    level = images.astype(np.float64)
    for whole in (1, 2, 3):
        level = sum(level[:, i::2, j::2] for i in (0, 1) for j in (0, 1)) / 4
        stored = np.clip(np.rint(level), 0, 255)
        ours = pipeline.at_lod(pipeline.to_float(images), whole, None)
        ours = (ours.numpy()[:, :: 2**whole, :: 2**whole] + 1) * 127.5
        assert np.max(np.abs(ours - level)) < 1e-4
        assert np.max(np.abs(ours - stored)) <= 0.5 + 1e-4
