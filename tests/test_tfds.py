"""tensorflow-datasets: a set that its own builder wrote comes back pixel by pixel."""

import sys

import numpy as np
import pytest

from tfstylegan.data import sources

SHAPE = {"height": 8, "width": 6, "channels": 3}


def pixels_of(split):
    rng = np.random.RandomState(len(split))
    return rng.randint(0, 256, [40, 8, 6, 3]).astype(np.uint8)


@pytest.fixture(scope="module")
def tfds(tmp_path_factory):
    """The package, with the set noise_images prepared in a folder of the test."""
    tfds = pytest.importorskip("tensorflow_datasets")
    folder = tmp_path_factory.mktemp("tfds")

    class NoiseImages(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            features = {
                "image": tfds.features.Image(shape=(8, 6, 3), encoding_format="png"),
                "label": tfds.features.ClassLabel(num_classes=4),
            }
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features)
            )

        def _split_generators(self, manager):
            return {name: self._generate_examples(name) for name in ("train", "test")}

        def _generate_examples(self, split):
            for i, image in enumerate(pixels_of(split)):
                yield i, {"image": image, "label": i % 4}

    class NoLabels(NoiseImages):
        def _info(self):
            features = {
                "picture": tfds.features.Image(shape=(8, 6, 3), encoding_format="png"),
            }
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features)
            )

        def _generate_examples(self, split):
            for i, image in enumerate(pixels_of(split)):
                yield i, {"picture": image}

    class NoImages(NoiseImages):
        def _info(self):
            features = {"text": tfds.features.Text()}
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features)
            )

        def _generate_examples(self, split):
            yield 0, {"text": split}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tfds.core.constants, "DATA_DIR", str(folder))
        for builder in (NoiseImages, NoLabels, NoImages):
            builder(data_dir=str(folder)).download_and_prepare()
        yield tfds


@pytest.mark.slow
@pytest.mark.parametrize(
    "suffix, split",
    [
        ("", "train"),
        (":test", "test"),
        (":train[:25%]", "train[:25%]"),
        (":train[7:19]", "train[7:19]"),
    ],
)
def test_tfds_comes_back_as_its_own_reader_reads_it(tfds, suffix, split):
    expected = tfds.as_numpy(tfds.load("noise_images", split=split))
    expected = list(expected)
    written = {image.tobytes() for image in pixels_of(split.partition("[")[0])}
    for cache_bytes in (0, 1 << 20):
        source = sources.open_source(
            f"tfds:noise_images{suffix}", **SHAPE, cache_bytes=cache_bytes
        )
        assert len(source) == len(expected)
        for i, example in enumerate(expected):
            np.testing.assert_array_equal(source.image(i), example["image"])
            np.testing.assert_array_equal(source.labels[i], np.eye(4)[example["label"]])
            assert source.image(i).tobytes() in written


@pytest.mark.slow
def test_tfds_takes_the_only_image_and_names_what_is_wrong(tfds):
    source = sources.open_source("tfds:no_labels", **SHAPE, max_images=3)
    assert len(source) == 3 and source.label_dim == 0
    for name, complaint in [
        ("no_images", "no 8-bit feature image, but text"),
        ("noise_images:validation", "validation"),
        ("noise_images:train[", "train"),
        ("no_such_set", "no_such_set"),
    ]:
        with pytest.raises(ValueError) as error:
            sources.open_source(f"tfds:{name}", **SHAPE)
        assert complaint in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "package, name", [("tensorflow_datasets", "tfds:mnist"), ("lmdb", "lmdb:.")]
)
def test_a_missing_package_is_named_with_its_remedy(package, name, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)  # makes its import fail
    with pytest.raises(ValueError, match=r"pip install 'tfstylegan\[data\]'"):
        sources.open_source(name, **SHAPE)
