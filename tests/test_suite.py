"""Metrics by name: each kind against its function, circumstances, and the cache."""

import json

import numpy as np
import pytest

from tfstylegan import metric_names, spreading
from tfstylegan.data import pipeline, sources
from tfstylegan.metrics import (
    detectors,
    fid,
    inception_score,
    kid,
    ppl,
    precision_recall,
    progress,
    reals,
    separability,
    suite,
)

DIMS = 6


class Detector:
    """Sees fixed projections of the pixels; counts what it has looked at."""

    def __init__(self, name="mine"):
        self.manifest = {"detector": name, "version": 3}
        self.dims = DIMS
        self.matrix = np.random.RandomState(3).randn(16, DIMS)
        self.seen = 0

    def features(self, images):
        assert images.dtype == np.uint8
        self.seen += len(images)
        return (images / 255).reshape(len(images), 16) @ self.matrix

    def probabilities(self, images):
        scores = np.exp(self.features(images))
        return scores / scores.sum(axis=1, keepdims=True)

    def distance(self, a, b):
        return np.square(a - b).mean(axis=(1, 2, 3))

    def attributes(self, images):
        p = 1 / (1 + np.exp(-images.reshape(len(images), 16) @ self.matrix))
        return np.stack([p, 1 - p], axis=-1).transpose(1, 0, 2)  # [A, N, 2]


class Model:
    """A linear generator: z [N, 5] -> ws [N, 2, 5] -> images [N, 4, 4, 1]."""

    batch_size = 8
    devices = spreading.Devices()
    manifest = {"truncation_psi": 1.0, "noise_mode": "none"}
    matrix = np.random.RandomState(4).randn(5, 16) / 4

    def codes(self, seed, number):
        return np.random.RandomState([seed, number]).randn(8, 5), None, None

    def paths(self, seed, number, count):
        draw = np.random.RandomState([seed, number])
        return *draw.randn(2, count, 5), draw.rand(count), None, None

    def mapping(self, z, labels):
        assert labels is None
        return np.stack([z, 2 * z], axis=1)

    def synthesis(self, ws, key):
        return (ws[:, 0] @ self.matrix).reshape(-1, 4, 4, 1)

    def stream(self, seed):
        draw = np.random.RandomState(seed)

        def generate(n):
            images = self.synthesis(self.mapping(draw.randn(n, 5), None), None)
            return np.clip(np.rint(images * 127.5 + 127.5), 0, 255).astype(np.uint8)

        return generate


@pytest.fixture
def source():
    pixels = np.random.RandomState(0).randint(0, 256, [90, 4, 4, 1]).astype(np.uint8)
    return sources.ArraySource(
        pixels, np.zeros([90, 0]), description="noise", fingerprint="0123"
    )


def compute(
    source, name, *, detector=None, mirror=False, cache=None, model=None, **options
):
    detector = detector or Detector()
    measures = suite.Suite(
        reals.Reals(source, mirror=mirror, folder=cache), lambda name: detector
    )
    options = {"num_images": 40} | options
    result = measures.compute(name, model or Model(), **options)
    assert json.loads(json.dumps(result)) == result
    return result


def pictures(source, count, seed=0):
    """Features of the first real ones and of generated ones."""
    detector, fakes = Detector(), Model().stream(seed)(count)
    return detector.features(source.pixels[:count]), detector.features(fakes)


@pytest.mark.parametrize(
    ("name", "count", "ddof"), [("fid40", 40, 1), ("fid40_full", 90, 0)]
)
def test_fid(source, name, count, ddof):
    real, fake = pictures(source, 90)[0][:count], pictures(source, 40)[1]
    expected = fid.frechet_distance(
        *(f(x) for x in (real, fake) for f in (mean, lambda x: np.cov(x.T, ddof=ddof)))
    )
    result = compute(source, name)
    assert result["value"] == pytest.approx(expected, rel=1e-9)
    assert result["num_real"] == count and result["ddof"] == ddof
    assert result["num_fake"] == 40


def mean(x):
    return x.mean(axis=0)


def test_other_metrics_of_features(source):
    real, fake = pictures(source, 60)
    assert compute(source, "kid60")["value"] == kid.kernel_distance(real, fake)
    fakes = Model().stream(0)(1000)
    more = Detector().features(fakes)
    everything = Detector().features(source.pixels)
    for name in ("kid60", "pr1k3", "dc1k5", "is1k"):
        assert next(iter(compute(source, name)["values"])) == metric_names.first_value(
            name
        )
    values = compute(source, "pr1k3")["values"]
    expected = precision_recall.precision_recall(everything, more, k=3)
    assert values == dict(
        zip(("pr1k3_precision", "pr1k3_recall"), expected, strict=True)
    )
    values = compute(source, "dc1k5")["values"]
    expected = precision_recall.density_coverage(everything, more, k=5)
    assert list(values.values()) == list(expected)
    published = compute(source, "pr1k3", detector=Detector("vgg16"))
    assert published["float16"] is True
    probabilities = Detector().probabilities(fakes)
    values = list(compute(source, "is1k")["values"].values())
    assert values == pytest.approx(inception_score.inception_score(probabilities))


@pytest.mark.parametrize("name", ["ppl2_wend_30", "ppl2_zfull_30", "ppl2_wfull_30"])
def test_path_length(source, name):
    model, detector, lengths = Model(), Detector(), []
    space = "z" if "z" in name else "w"
    for number in range(8):  # 4 pairs each, of which the last 2 do not count
        z0, z1, t, _, _ = model.paths(9, number, 4)
        t = 0 * t if "end" in name else t
        lengths.append(
            ppl.path_lengths(
                *(z0, z1, t),
                mapping=lambda z: model.mapping(z, None),
                synthesis=lambda ws: model.synthesis(ws, None),
                distance=detector.distance,
                space=space,
                crop="ppl_" in name,
            )
        )
    result = compute(source, name, seed=9)
    expected = ppl.mean_length(np.concatenate(lengths)[:30])
    assert result["value"] == expected > 0
    assert result["num_pairs"] == 30 and result["space"] == space


def test_separability(source):
    """Attributes of a linear generator are linear in its codes."""
    values = compute(source, "classifier_ls_300")["values"]
    assert next(iter(values)) == metric_names.first_value("classifier_ls_300")
    assert 1 <= values["classifier_ls_300_w"] < 3
    codes = np.concatenate([Model().codes(0, i)[0] for i in range(38)])[:300]
    images = Model().synthesis(codes[:, np.newaxis], None)
    expected = separability.separability_score(codes, Detector().attributes(images))
    assert values["classifier_ls_300_z"] == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize(
    "name", ["fid600", "kid600", "is600", "pr1k3", "ppl2_zfull_30", "classifier_ls_300"]
)
def test_two_devices_see_what_one_sees(source, name):
    class Two(Model):
        devices = spreading.Devices(["CPU:0", "CPU:1"])

    one, two = Detector(), Detector()
    expected = compute(source, name, detector=one)
    assert compute(source, name, detector=two, model=Two()) == expected
    assert one.seen == two.seen


def test_lengths_of_single_images_make_up_the_metric(source):
    model, detector = Model(), Detector()
    measures = suite.Suite(reals.Reals(source), lambda name: detector)
    model.paths = lambda *args: (*Model().paths(*args)[:3], None, np.array([4, 5]))
    name = "ppl2_wend_30"
    result, arrays = measures.single_lengths(name, model, seed=9)
    assert result == compute(source, name, seed=9)
    assert {key: x.shape for key, x in arrays.items()} == {
        "lengths": (30,),
        "z": (30, 5),
        "keys": (30, 2),
    }
    assert result["value"] == ppl.mean_length(arrays["lengths"])
    # A linear generator is as far from another image as its codes are.
    others = np.concatenate([model.paths(9, i, 4)[1] for i in range(8)])[:30]
    steps = (others - arrays["z"]) @ model.matrix * 127.5
    expected = np.square(steps).mean(axis=1)
    np.testing.assert_allclose(arrays["lengths"], expected, rtol=1e-5)
    for other in ("ppl2_wfull_30", "ppl2_zend_30", "fid30"):
        with pytest.raises(ValueError, match=f"'{other}' tells nothing of single"):
            measures.single_lengths(other, model)


@pytest.mark.parametrize("name", ["ppl2_wend_30", "ls_30", "resolution_usage8"])
def test_models_without_networks_have_no_such_metric(source, name):
    class Served:
        devices = spreading.Devices()
        stream = Model.stream

    with pytest.raises(detectors.Unavailable, match="needs the networks"):
        compute(source, name, model=Served())


def test_manifest_tells_the_circumstances(source):
    result = compute(source, "fid40", mirror=True, seed=5)
    about = {"seed": 5, "data": "0123", "mirror": True, "noise_mode": "none"}
    assert about.items() <= result.items()
    for name in ("fid40", "kid40", "is40", "pr1k3", "dc1k3", "ppl_wend_40", "ls_40"):
        model = Model()
        if name.startswith("ppl_"):  # whose crop needs 8 rows
            model.synthesis = lambda ws, key: np.zeros([len(ws), 16, 16, 1])
        prefix = "classifier_" if name == "ls_40" else ""
        result = compute(source, prefix + name, model=model)
        assert result["detector"] == {"detector": "mine", "version": 3}
        assert result["data"] == "0123" and result["version"] and result["ops"]
        assert {"seed", "truncation_psi", "noise_mode"} <= result.keys()
        assert {"num_fake", "num_pairs"} & result.keys()
    assert compute(source, "fid40_full", mirror=True)["mirror"] is False


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("fid40", {"real": 40, "generated": 40}),
        ("kid600_full", {"real": 90, "generated": 600}),
        ("is40", {"generated": 40}),
        ("ppl2_wend_30", {"generated": 30}),
        ("classifier_ls_30", {"generated": 30}),
    ],
)
def test_every_image_is_counted_while_one_waits(source, name, counts):
    counted = {}

    def watch(batches, *, title, total, size=len):
        metric, kind, _ = title.replace(":", "").split()
        assert metric == name and total == counts[kind]
        for batch in batches:
            counted[kind] = counted.get(kind, 0) + size(batch)
            yield batch

    measures = suite.Suite(
        reals.Reals(source, watch=watch), lambda name: Detector(), watch=watch
    )
    result = measures.compute(name, Model(), num_images=1)
    assert counted == counts
    assert result == compute(source, name)


def test_a_bar_is_shown_of_what_takes_seconds(monkeypatch, capsys):
    batches = [[1, 2], [3], [4, 5, 6]]
    assert list(progress.shown(batches, title="a: b", total=6)) == batches
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(progress, "DELAY", 0)
    assert list(progress.shown(batches, title="a: b", total=6)) == batches
    shown = capsys.readouterr().err
    assert "a: b: 100%" in shown and "6/6" in shown


def test_mirrored_images_are_those_of_training(source):
    expected = pipeline.real_images(source, 40, seed=reals.SEED, mirror=True)
    real = Detector().features(np.concatenate(list(expected)))
    value = compute(source, "kid40", mirror=True)["value"]
    assert value == kid.kernel_distance(real, pictures(source, 40)[1])
    assert value != compute(source, "kid40")["value"]


@pytest.mark.parametrize("name", ["fid40", "kid40"])
def test_real_images_are_looked_at_once(source, tmp_path, name):
    first, second = Detector(), Detector()
    value = compute(source, name, detector=first, cache=tmp_path)["value"]
    again = compute(source, name, detector=second, cache=tmp_path)["value"]
    assert value == again == compute(source, name)["value"]
    assert (first.seen, second.seen) == (80, 40)
    for change in ({"mirror": True}, {"detector": Detector("other")}):
        options = {"detector": Detector(), "cache": tmp_path} | change
        compute(source, name, **options)
        assert options["detector"].seen == 80
    source.fingerprint = "4567"
    third = Detector()
    compute(source, name, detector=third, cache=tmp_path)
    assert third.seen == 80


def test_damaged_cache_is_made_anew(source, tmp_path):
    value = compute(source, "fid40", cache=tmp_path)["value"]
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    for damaged in (b"", whole[:100], b"PK" + whole[2:200] + b"\0" * 50):
        file.write_bytes(damaged)
        assert compute(source, "fid40", cache=tmp_path)["value"] == value
        assert file.read_bytes() == whole
    assert list(tmp_path.iterdir()) == [file]


def test_cache_that_cannot_be_written_is_done_without(source, tmp_path):
    (tmp_path / "file").write_text("in the way")
    detector = Detector()
    compute(source, "fid40", detector=detector, cache=tmp_path / "file" / "folder")
    assert detector.seen == 80


def test_detector_without_what_a_metric_needs(source):
    class Blind:
        manifest = {"detector": "blind"}

    with pytest.raises(ValueError, match="'is40' needs probabilities, and .* has none"):
        compute(source, "is40", detector=Blind())
