"""Where the files of detectors are looked for, and what they are checked against."""

import hashlib
import subprocess
import sys

import pytest
from detector_files import sums
from test_commands import ROOT
from test_nvidia_import import Server

from tfstylegan.interop import fetch
from tfstylegan.metrics.detectors import files

BODY = b"weights"
SHA256 = hashlib.sha256(BODY).hexdigest()
MD5 = hashlib.md5(BODY).hexdigest()
UNKNOWN = "nothing: no digest of the published file is known"


def wanted(**changes):
    return files.Wanted(
        **{"names": ("a.h5", "c.h5"), "publisher": "Somebody"} | changes
    )


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TFSTYLEGAN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    made = tmp_path / "detectors"
    made.mkdir()
    return made


def test_files_are_found_in_a_folder_or_named(folder):
    second = folder / "c.h5"
    second.write_bytes(BODY)
    for where in (folder, str(folder), second, str(second)):
        found = files.find(wanted(), where)
        assert found.path == second
        expected = {"file": "c.h5", "sha256": SHA256, "checked": UNKNOWN}
        assert found.manifest == expected
    (folder / "a.h5").write_bytes(BODY)
    assert files.find(wanted(), folder).path == folder / "a.h5"
    with pytest.raises(files.Unavailable, match="a.h5 or c.h5 is missing"):
        (folder / "other.h5").write_bytes(BODY)
        files.find(wanted(), folder / "other.h5")
    with pytest.raises(ValueError, match="there is no .*nowhere") as caught:
        files.find(wanted(), folder / "nowhere")
    assert not isinstance(caught.value, files.Unavailable)


@pytest.mark.parametrize(
    ("digests", "checked"),
    [
        ({}, UNKNOWN),
        ({"sha256": SHA256}, "the known SHA-256"),
        ({"sha256": SHA256.upper()}, "the known SHA-256"),
        ({"md5": MD5}, "the known MD5"),
        ({"sha256": SHA256, "md5": MD5}, "the known SHA-256"),
    ],
)
def test_files_with_the_right_digest(digests, checked, folder):
    (folder / "a.h5").write_bytes(BODY)
    found = files.find(wanted(**digests), folder)
    expected = {"file": "a.h5", "sha256": SHA256, "checked": checked}
    assert found.manifest == expected


@pytest.mark.parametrize("kind, name", [("sha256", "SHA-256"), ("md5", "MD5")])
def test_files_with_a_wrong_digest_are_refused(kind, name, folder):
    path = folder / "a.h5"
    path.write_bytes(BODY)
    digest = "0" * len({"sha256": SHA256, "md5": MD5}[kind])
    right = {"sha256": SHA256, "md5": MD5}[kind]
    words = f"^{path} must have {name} {digest}; got {right}$"
    with pytest.raises(ValueError, match=words) as caught:
        files.find(wanted(**{kind: digest}), folder)
    assert not isinstance(caught.value, files.Unavailable)
    # The user says otherwise, for this file.
    (folder / "SHA256SUMS").write_text(f"{'1' * 64}  b.h5\n")
    with pytest.raises(ValueError, match=words):
        files.find(wanted(**{kind: digest}), folder)
    found = files.find(wanted(**{kind: digest}), sums(folder))
    assert found.manifest["checked"] == "SHA256SUMS"
    path.write_bytes(BODY + b" ")  # the file is not what it was then
    with pytest.raises(ValueError, match=f"must have SHA-256 {SHA256}; got"):
        files.find(wanted(), folder)


@pytest.mark.parametrize("line", ["{}  a.h5", "{} *a.h5", "{}  ./a.h5", "\n{}  a.h5\n"])
def test_files_listed_as_sha256sum_lists_them(line, folder):
    (folder / "a.h5").write_bytes(BODY)
    (folder / "SHA256SUMS").write_text(line.format(SHA256))
    assert files.find(wanted(), folder).manifest["checked"] == "SHA256SUMS"
    (folder / "SHA256SUMS").write_text(line.format("0" * 64))
    with pytest.raises(ValueError, match="must have SHA-256 000"):
        files.find(wanted(), folder)


@pytest.mark.parametrize("line", ["a.h5", f"{MD5}  a.h5", f"{SHA256} a.h5"])
def test_files_with_a_list_of_another_kind(line, folder):
    (folder / "a.h5").write_bytes(BODY)
    (folder / "SHA256SUMS").write_text(f"{SHA256}  b.h5\n{line}\n")
    with pytest.raises(ValueError, match="lines of sha256sum; line 2 is"):
        files.find(wanted(), folder)


def test_files_are_downloaded_once(folder):
    with Server(BODY) as url:
        asked = wanted(url=url, sha256=SHA256)
        with pytest.raises(files.Unavailable) as caught:
            files.find(asked, folder, download=False)
        assert f"It comes from Somebody, {url}; put it" in str(caught.value)
        found = files.find(asked, folder)
        assert found.manifest["file"] == "a.h5"
        assert found.path == fetch.cache_path(url)
    again = [files.find(asked, where) for where in (None, folder)]
    again.append(files.find(asked, folder, download=False))
    assert again == [found] * 3  # there is no server any more
    (folder / "a.h5").write_bytes(BODY)
    assert files.find(asked, folder).path == folder / "a.h5"  # the user's own first


@pytest.mark.parametrize("digest", [{"sha256": "0" * 64}, {"md5": "0" * 32}])
def test_files_with_a_wrong_digest_are_not_kept(digest, folder):
    with Server(BODY) as url:
        with pytest.raises(ValueError, match="must have .* 000") as caught:
            files.find(wanted(url=url, **digest), folder)
        assert not isinstance(caught.value, files.Unavailable)
        assert not fetch.cache_path(url).exists()


def test_files_that_cannot_be_had_tell_how(folder):
    with Server(BODY) as url:
        pass
    with pytest.raises(files.Unavailable) as caught:
        files.find(wanted(url=url), folder)
    words = str(caught.value)
    assert words.startswith(f"a.h5 or c.h5 is missing: it is not in {folder}, {url}")
    assert "cannot be downloaded (" in words and "Somebody" in words
    with pytest.raises(files.Unavailable, match="no folder of detectors is given"):
        files.find(wanted())


def test_detectors_import_without_tensorflow():
    names = "celebahq, files, images, inception, lpips, vgg16"
    code = f"""
import sys
from tfstylegan.metrics.detectors import {names}
sys.exit("tensorflow" in sys.modules or "keras" in sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
