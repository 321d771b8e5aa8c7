"""Forty classifiers from pickles: published logits, order, groups, refusals."""

import detector_files
import numpy as np
import pytest
from conftest import DATA
from test_networks_golden import nhwc

from tfstylegan import config as config_lib
from tfstylegan.interop import nvidia, nvidia_pickle
from tfstylegan.metrics.detectors import celebahq, files
from tfstylegan.networks import build, storage

NAMES = {0: "male", 1: "smiling", 39: "wearing-necktie"}


def name(number):
    return f"celebahq-classifier-{number:02d}-{NAMES.get(number, 'x')}.pkl"


def tiny(seed, **options):
    """(variables, arguments) of a discriminator of 8x8 images."""
    config = config_lib.Config(seed=seed)
    config.data.resolution = 8
    config.discriminator = config_lib.DiscriminatorConfig(
        architecture="growing",
        block="stylegan",
        fmap_base=32,
        fmap_max=8,
        resample_kernel=(1, 2, 1),
        **options,
    )
    config.validate()
    network = build.build_discriminator(config)
    networks = storage.Networks(G=None, D=network, G_ema=None, config=config)
    state = nvidia.export_state(networks, "tensorflow", ["D"])["D"]
    _, _, arguments = nvidia.export_arguments(networks, "tensorflow", "D")
    return network, state, arguments


def images(n, side=8, channels=3):
    shape = [n, side, side, channels]
    return np.random.RandomState(5).uniform(-1, 1, shape).astype(np.float32)


def probability(logits):
    """Of the first class by softmax(l, -l)."""
    return 1 / (1 + np.exp(-2.0 * logits))


@pytest.fixture
def three(monkeypatch):
    monkeypatch.setattr(celebahq, "COUNT", 3)


@pytest.mark.usefixtures("three")
def test_classifiers_give_the_published_logits(golden, tmp_path):
    arrays = golden("networks_stylegan1")
    record = nvidia_pickle.read(DATA / "pickles" / "stylegan1_u64.pkl").networks["D"]
    payload = detector_files.classifier(record.variables, record.arguments)
    for number in range(3):
        (tmp_path / name(number)).write_bytes(payload)
    x = nhwc(arrays["sg1_u64/D/img"])[:4]
    found = celebahq.load(tmp_path).attributes(x)
    assert found.shape == (3, 4, 2) and found.dtype == np.float32
    want = probability(arrays["sg1_u64/D/logits_n4"][:, 0].astype(np.float64))
    for attribute in found:
        np.testing.assert_allclose(attribute[:, 0], want, atol=1e-3)
        np.testing.assert_allclose(attribute.sum(axis=1), 1, atol=1e-6)


@pytest.mark.usefixtures("three")
def test_classifiers_compare_successive_images(tmp_path):
    networks = []
    for number, group in enumerate((4, 4, 2)):
        network, *described = tiny(number, mbstd_group_size=group)
        payload = detector_files.classifier(*described)
        (tmp_path / name(number)).write_bytes(payload)
        networks.append((network, group))
    detector = celebahq.load(tmp_path)
    x = images(celebahq.BATCH + 7)  # several batches, and a rest of 3
    found = detector.attributes(x)
    for (network, group), attribute in zip(networks, found):
        parts = [x[start : start + group] for start in range(0, len(x), group)]
        logits = np.concatenate([network(part).numpy()[:, 0] for part in parts])
        np.testing.assert_allclose(attribute[:, 0], probability(logits), atol=1e-5)
    np.testing.assert_allclose(detector.attributes(x[:8]), found[:, :8], atol=1e-6)
    assert detector.manifest["group_sizes"] == [2, 4]


@pytest.mark.usefixtures("three")
def test_classifiers_average_larger_images(tmp_path):
    payload = detector_files.classifier(*tiny(0)[1:])
    for number in range(3):
        (tmp_path / name(number)).write_bytes(payload)
    detector = celebahq.load(tmp_path)
    x = images(4)
    large = np.repeat(np.repeat(x, 3, axis=1), 3, axis=2)
    large[:, ::3] += 0.1
    large[:, 1::3] -= 0.1
    want = detector.attributes(x)
    np.testing.assert_allclose(detector.attributes(large), want, atol=1e-6)
    grey = images(4, channels=1)
    np.testing.assert_array_equal(
        detector.attributes(grey), detector.attributes(np.repeat(grey, 3, axis=3))
    )
    for wrong in (images(4, 4), images(4, 12), large[:, :, :16]):
        with pytest.raises(ValueError, match="8x8 or a multiple"):
            detector.attributes(wrong)


@pytest.mark.usefixtures("three")
def test_classifiers_that_are_other_networks_are_refused(tmp_path):
    _, state, arguments = tiny(0)
    good = detector_files.classifier(state, arguments)
    spare = state | {"spare": np.zeros([2], "f4")}
    cases = [
        (b"no pickle", "opcode"),
        (detector_files.p.tensorflow(), "holds tuple, not one network"),
        (good.replace(b"D_basic", b"D_other"), "'D_other', whose mathematics are not"),
        (
            detector_files.classifier(state, arguments | {"x": 1}),
            "unknown meaning: x=1",
        ),
        (detector_files.classifier(spare, arguments), "what has no place: spare"),
    ]
    for number in range(3):
        (tmp_path / name(number)).write_bytes(good)
    for payload, words in cases:
        (tmp_path / name(1)).write_bytes(payload)
        with pytest.raises(ValueError, match=words) as caught:
            celebahq.load(tmp_path)
        assert str(caught.value).startswith(str(tmp_path / name(1)))


def test_classifiers_are_forty(tmp_path):
    for number in range(40):
        (tmp_path / name(number)).write_bytes(b"")
    (tmp_path / name(38)).unlink()
    words = rf"^celebahq-classifier-38-\*.pkl is missing: it is not in {tmp_path}"
    with pytest.raises(files.Unavailable, match=words):
        celebahq.load(tmp_path)
    with pytest.raises(files.Unavailable, match="no folder of detectors is given"):
        celebahq.load(None)
    (tmp_path / name(38)).write_bytes(b"")
    (tmp_path / "celebahq-classifier-07-second.pkl").write_bytes(b"")
    with pytest.raises(ValueError, match="one celebahq-classifier-07.*; got .*07-sec"):
        celebahq.load(tmp_path)


@pytest.mark.slow
def test_classifiers_are_in_the_order_of_their_numbers(tmp_path):
    logits = []
    x = images(4)
    for number in range(40):
        network, *described = tiny(number)
        payload = detector_files.classifier(*described)
        (tmp_path / name(number)).write_bytes(payload)
        logits.append(network(x).numpy()[:, 0])
    detector = celebahq.load(tmp_path)
    found = detector.attributes(x)[:, :, 0]
    np.testing.assert_allclose(found, probability(np.array(logits)), atol=1e-5)
    assert len(np.unique(found[:, 0])) == 40
    named = [file["file"] for file in detector.manifest["files"]]
    assert named == [name(number) for number in range(40)]
