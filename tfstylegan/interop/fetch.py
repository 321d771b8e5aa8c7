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


def local_file(source, sha256=None):
    """Path of `source`, a file or a URL; what a URL leads to is downloaded once.

    The cache folder is TFSTYLEGAN_CACHE, by default `$XDG_CACHE_HOME/tfstylegan` or
    `~/.cache/tfstylegan`. With `sha256`, in hex, nothing else is returned.

    Raises ValueError for another scheme, a wrong digest or a URL that cannot be read,
    and OSError for files.
    """
    if sha256 is not None and not re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
        raise ValueError(f"sha256 must be 64 hexadecimal digits; got {sha256!r}")
    scheme, separator, _ = str(source).partition("://")
    if not separator:
        return _checked(pathlib.Path(source), sha256)
    if scheme not in SCHEMES:
        raise ValueError(f"source must be a file or an http(s) URL; got {source!r}")
    path = cache_path(source)
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        _download(source, path, sha256)
    return _checked(path, sha256)


def cache_path(url):
    """Where the file of a URL is kept: its own name, behind a digest of the URL."""
    name = pathlib.PurePosixPath(urllib.parse.urlsplit(url).path).name or "file"
    key = hashlib.sha256(url.encode()).hexdigest()[:16]
    return cache.folder() / "downloads" / f"{key}-{name[-80:]}"


def _checked(path, sha256):
    if sha256 is not None:
        with open(path, "rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != sha256.lower():
            raise ValueError(f"{path} must have SHA-256 {sha256.lower()}; got {found}")
    return path


def _download(url, path, sha256):
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with urllib.request.urlopen(url, timeout=SECONDS) as answer:
            _copy(answer, partial, path.name)
        _checked(partial, sha256)
        os.replace(partial, path)
    except NO_ANSWER as error:
        reason = getattr(error, "reason", None) or error
        raise ValueError(
            f"{url} cannot be downloaded ({reason}); get the file on a machine that "
            "can and give its path as the source"
        ) from error
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
