"""Files at a URL, kept in the user's cache folder, and the check of what they hold."""

import hashlib
import http.client
import os
import pathlib
import re
import sys
import urllib.error
import urllib.parse
import urllib.request

import tqdm

from tfstylegan import cache

SCHEMES = ("http", "https")
CHUNK = 1 << 20
NO_ANSWER = (
    *(urllib.error.URLError, http.client.HTTPException),
    *(TimeoutError, ConnectionError),
)
SECONDS = 60  # without a byte until a download is given up
DIGITS = {"sha256": 64, "md5": 32}
NAMES = {"sha256": "SHA-256", "md5": "MD5"}


class Unreachable(ValueError):
    """A URL that cannot be read from here, and the `reason`."""

    def __init__(self, url, reason):
        super().__init__(
            f"{url} cannot be downloaded ({reason}); get the file on a machine that "
            "can and give its path as the source"
        )
        self.reason = reason


def local_file(source, sha256=None, *, md5=None):
    """Path of `source`, a file or a URL; what a URL leads to is downloaded once.

    The cache folder is TFSTYLEGAN_CACHE, by default `$XDG_CACHE_HOME/tfstylegan` or
    `~/.cache/tfstylegan`. With `sha256` or `md5`, in hex, nothing else is returned
    (MD5 is for files whose publishers give no other: it tells damage from what they
    published, but not malice).

    Raises ValueError for another scheme or a wrong digest, Unreachable, which is one,
    for a URL that cannot be read, and OSError for files.
    """
    digests = {"sha256": sha256, "md5": md5}
    digests = {kind: value for kind, value in digests.items() if value is not None}
    for kind, value in digests.items():
        if not re.fullmatch(f"[0-9a-fA-F]{{{DIGITS[kind]}}}", value):
            raise ValueError(
                f"{kind} must be {DIGITS[kind]} hexadecimal digits; got {value!r}"
            )
    scheme, separator, _ = str(source).partition("://")
    if not separator:
        return _checked(pathlib.Path(source), digests)
    if scheme not in SCHEMES:
        raise ValueError(f"source must be a file or an http(s) URL; got {source!r}")
    path = cache_path(source)
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        _download(source, path, digests)
    return _checked(path, digests)


def cache_path(url):
    """Where the file of a URL is kept: its own name, behind a digest of the URL."""
    name = pathlib.PurePosixPath(urllib.parse.urlsplit(url).path).name or "file"
    key = hashlib.sha256(url.encode()).hexdigest()[:16]
    return cache.folder() / "downloads" / f"{key}-{name[-80:]}"


def digest(path, kind="sha256"):
    """Digest of a file in hex; `kind` is sha256 or md5."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, kind).hexdigest()


def _checked(path, digests):
    for kind, expected in digests.items():
        found = digest(path, kind)
        if found != expected.lower():
            raise ValueError(
                f"{path} must have {NAMES[kind]} {expected.lower()}; got {found}"
            )
    return path


def _download(url, path, digests):
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with urllib.request.urlopen(url, timeout=SECONDS) as answer:
            _copy(answer, partial, path.name)
        _checked(partial, digests)
        os.replace(partial, path)
    except NO_ANSWER as error:
        reason = getattr(error, "reason", None) or error
        raise Unreachable(url, reason) from error
    finally:
        partial.unlink(missing_ok=True)


def _copy(answer, partial, name):
    length = answer.headers.get("Content-Length")
    total = int(length) if length and length.isdecimal() else None
    bar = tqdm.tqdm(
        total=total,
        desc=name,
        unit="B",
        unit_scale=True,
        disable=not sys.stderr.isatty(),
    )
    received = 0
    with open(partial, "wb") as file, bar:
        while chunk := answer.read(CHUNK):
            file.write(chunk)
            bar.update(len(chunk))
            received += len(chunk)
    if total not in (None, received):
        raise ConnectionError(f"{received} of {total} bytes came")
