"""The dataset doctor: what it finds, what it does not, what it mends."""

import io
import json
import struct
import time
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms
from test_commands import ROOT, fails, run

from tfstylegan.data import collection, doctor, images, similar
from tfstylegan.data.formats import folder
from tfstylegan.data.tfrecords import records

TOOL = str(ROOT / "tools/dataset_tool.py")


def picture(seed, size=(64, 64)):
    """Random shapes that keep their look when they are resized."""
    pixels = np.random.default_rng(seed).integers(0, 256, [6, 6, 3]).astype(np.uint8)
    return Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)


def as_file(image, format_="PNG", **options):
    file = io.BytesIO()
    image.save(file, format_, **options)
    return file.getvalue()


class Files:
    """A collection of {name: bytes or pixels}."""

    description = "files"

    def __init__(self, files, labels=None):
        self.names = list(files)
        self.labels = collection.no_labels(len(files)) if labels is None else labels
        self._files = list(files.values())

    def __len__(self):
        return len(self.names)

    def read(self, index):
        if isinstance(self._files[index], Exception):
            raise self._files[index]
        return self._files[index]


def plain(count=3):
    return {f"{i}.png": as_file(picture(i)) for i in range(count)}


def examine(files, labels=None, **options):
    report = doctor.examine(Files(files, labels), **options)
    return report, {finding.kind: finding for finding in report.findings}


def test_nothing_is_found_where_nothing_is_wrong(monkeypatch):
    monkeypatch.setattr(doctor, "FEW_IMAGES", 3)
    report, found = examine(plain())
    assert not found and report.keep == [0, 1, 2] and not report.fails(strict=True)
    assert report.sizes == {"64x64": 3} and report.modes == {"RGB": 3}


def test_few_images_are_a_warning_and_none_an_error():
    report, found = examine(plain())
    assert found["few"].severity == "warning"
    assert not report.fails() and report.fails(strict=True)
    report, found = examine({"a": b"no image"})
    assert found["few"].severity == "error" and report.fails() and report.keep == []


def exif_turned():
    exif = Image.Exif()
    exif[images.ORIENTATION_TAG] = 6
    return as_file(picture(10), "JPEG", exif=exif)


def animation():
    return as_file(
        picture(10), "GIF", save_all=True, append_images=[picture(11), picture(12)]
    )


def bomb():
    """A PNG of 50,000 x 50,000 pixels, as far as its header goes."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    checksum = struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + checksum


def deep():
    ramp = np.arange(4096, dtype=np.uint16).reshape(64, 64) * 16
    return as_file(Image.fromarray(ramp))


def with_profile(data):
    return as_file(picture(10), icc_profile=data)


LAB = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.mark.parametrize(
    ("data", "kinds"),
    [
        (b"", {"corrupt"}),
        (b"text", {"corrupt"}),
        (bomb(), {"corrupt"}),
        (as_file(picture(9))[:-3000], {"corrupt"}),
        (as_file(picture(9), "JPEG")[:-200], {"corrupt"}),
        (OSError(5, "Input/output error"), {"corrupt"}),
        (as_file(picture(9, (32, 64))), {"sizes"}),
        (as_file(picture(9).convert("L")), {"modes"}),
        (as_file(picture(9).convert("CMYK"), "JPEG"), {"modes"}),
        (as_file(picture(9).convert("RGBA")), {"modes", "transparency"}),
        (deep(), {"modes", "depth"}),
        (animation(), {"animation"}),
        (exif_turned(), {"rotation"}),
        (with_profile(LAB), {"profile"}),
        (with_profile(b"nonsense"), {"profile"}),
        (with_profile(SRGB), set()),
        (as_file(picture(0), compress_level=0), {"duplicate"}),
        (as_file(picture(0).convert("RGBA")), {"duplicate", "modes", "transparency"}),
        (np.asarray(picture(0)), {"duplicate"}),
        (as_file(picture(0), "JPEG", quality=30), {"similar"}),
        (as_file(picture(0).resize((100, 100))), {"sizes", "similar"}),
        (as_file(picture(0).point(lambda x: x * 0.8 + 20)), {"similar"}),
        (np.asarray(picture(9)), set()),
    ],
)
def test_what_is_wrong_with_one_image_is_found(data, kinds):
    report, found = examine({**plain(), "odd": data})
    # An animation is palettes, which a GIF cannot help; a set has few images anyway.
    assert (
        found.keys() - {"few"} - ({"modes"} if kinds == {"animation"} else set())
        == kinds
    )
    for kind in kinds:
        assert found[kind].images == ["odd"]
        assert found[kind].severity == ("error" if kind == "corrupt" else "warning")
    assert report.fails() == ("corrupt" in kinds)
    unwanted = {"corrupt", "duplicate", "similar"} & kinds
    assert report.keep == ([0, 1, 2] if unwanted else [0, 1, 2, 3])


def test_labels_that_contradict_each_other_are_told():
    files = {**plain(), "copy": as_file(picture(1)), "again": as_file(picture(2))}
    _, found = examine(files, np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 2]])
    assert found["duplicate"].images == ["copy", "again"]
    assert "copy = 1.png" in found["duplicate"].text
    assert "1 of them with another label" in found["duplicate"].text


def test_balance_of_classes():
    labels = np.eye(4, dtype=np.float32)[[0] * 22 + [2] * 2]
    report, found = examine(plain(24), labels)
    assert report.classes == [22, 0, 2, 0]
    assert "22 images, the smallest 2" in found["balance"].text
    assert "2 classes have no image: 1, 3" in found["classes"].text
    _, found = examine(plain(24), np.eye(2, dtype=np.float32)[[0] * 20 + [1] * 4])
    assert not {"balance", "classes"} & found.keys()
    _, found = examine(plain(24), np.random.default_rng(0).normal(size=(24, 3)))
    assert not {"balance", "classes"} & found.keys()


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, of broken EXIF
def test_damage_of_any_kind_is_reported_and_raises_nothing():
    rng = np.random.default_rng(0)
    good = [exif_turned(), animation(), with_profile(SRGB), as_file(picture(1), "WEBP")]
    files = {}
    for i in range(400):
        data = bytearray(good[i % len(good)])
        for place in rng.integers(0, min(len(data), 600), 1 + i % 3):
            data[place] = rng.integers(256)
        files[str(i)] = bytes(data[: -(i % 7) or None])
    report, found = examine(files)
    broken = set(found["corrupt"].images)
    assert 100 < len(broken) < 400 and len(report.keep) <= 400 - len(broken)


# Copies.


def test_flat_images_are_not_copies_of_each_other():
    files = {
        str(level): as_file(Image.new("RGB", (64, 64), (level,) * 3))
        for level in range(9)
    }
    _, found = examine(files)
    assert found.keys() == {"few"}


def test_a_negative_radius_looks_for_exact_copies_only():
    files = {**plain(), "a": as_file(picture(0), "JPEG"), "b": as_file(picture(1))}
    _, found = examine(files, radius=-1)
    assert found["duplicate"].images == ["b"] and "similar" not in found


def random_looks(count, seed=0):
    """Looks of unlike images."""
    rng = np.random.default_rng(seed)
    return [
        similar.Look(int(bits), thumbnail.tobytes())
        for bits, thumbnail in zip(
            rng.integers(0, 2**64, count, np.uint64),
            rng.integers(0, 256, [count, 256]).astype(np.uint8),
        )
    ]


@pytest.mark.parametrize("radius", [0, 3, 6, 8])
def test_copies_are_those_of_comparing_all_with_all(radius):
    rng = np.random.default_rng(radius)
    looks = random_looks(300)
    for i in rng.permutation(300)[:100]:  # with 0 to 10 bits changed
        bits = sum(1 << int(bit) for bit in rng.permutation(64)[: rng.integers(11)])
        looks.append(looks[i]._replace(hash=looks[i].hash ^ bits))
    looks[7] = None
    expected = {}
    for later, look in enumerate(looks):
        for earlier in range(later):
            other = looks[earlier]
            if look and other and earlier not in expected and later not in expected:
                near = (look.hash ^ other.hash).bit_count() <= radius
                if near and look.thumbnail == other.thumbnail:
                    expected[later] = earlier
    assert 5 < len(expected) < 100
    assert similar.copies(looks, radius=radius) == expected


def test_alike_hashes_of_unlike_images_are_no_copies():
    first, second = random_looks(2)
    assert similar.copies([first, first._replace(thumbnail=second.thumbnail)]) == {}
    assert similar.copies([first, first]) == {1: 0}
    assert similar.copies([]) == similar.copies([first]) == {}


@pytest.mark.slow
def test_seventy_thousand_images_take_seconds():
    looks = random_looks(69_000)
    looks += looks[:1000]
    begin = time.monotonic()
    copies = similar.copies(looks)
    assert time.monotonic() - begin < 60
    assert copies == {69_000 + i: i for i in range(1000)}


# The command.


@pytest.fixture
def sick(tmp_path):
    source = tmp_path / "krank"
    source.mkdir()
    for i in range(8):
        (source / f"bild {i}.png").write_bytes(as_file(picture(i)))
    (source / "leer.png").write_bytes(b"")
    (source / "kopie.png").write_bytes(as_file(picture(3)))
    (source / "ähnlich.jpg").write_bytes(as_file(picture(4), "JPEG", quality=80))
    (source / "gedreht.jpg").write_bytes(exif_turned())
    return source


def test_the_command_reports_and_mends(tmp_path, sick):
    result = run(TOOL, "check", sick, f"--json={tmp_path / 'r.json'}")
    assert result.returncode == 1
    for words in (
        "12 images",
        "error   corrupt            1  cannot be read: leer.png (not a PNG",
        "have the same pixels as others: kopie.png = bild 3.png",
        "look the same as others: ähnlich.jpg = bild 4.png",
    ):
        assert words in result.stdout
    report = json.loads((tmp_path / "r.json").read_text())
    kinds = {finding["kind"]: finding["images"] for finding in report["findings"]}
    assert kinds["corrupt"] == ["leer.png"] and kinds["rotation"] == ["gedreht.jpg"]
    assert kinds["duplicate"] == ["kopie.png"] and kinds["similar"] == ["ähnlich.jpg"]

    clean = tmp_path / "sauber"
    result = run(TOOL, "check", sick, f"--fix={clean}", "--size=32", "--encoding=webp")
    assert result.returncode == 0, result.stderr
    dataset = records.open_collection(clean)
    assert (
        dataset.names
        == report["keep"]
        == [
            *(f"bild {i}.png" for i in range(8)),
            "gedreht.jpg",
        ]
    )
    mended = doctor.examine(dataset)
    assert [finding.kind for finding in mended.findings] == ["few"]
    source = folder.open_collection(str(sick))
    turned = images.decode(
        source.read(source.names.index("gedreht.jpg")), height=32, width=32, channels=3
    )
    np.testing.assert_array_equal(images.load_pixels(dataset.read(8)), turned)


def test_exit_codes(tmp_path, sick):
    (sick / "leer.png").unlink()
    assert run(TOOL, "check", sick).returncode == 0
    assert run(TOOL, "check", sick, "--strict").returncode == 1
    fails(run(TOOL, "check", tmp_path / "nowhere"), "nowhere", "does not exist")
