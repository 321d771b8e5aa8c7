"""Which collection a name of `--config.data.source` means."""

import os
import pathlib
from collections.abc import Callable

from tfstylegan.data import collection
from tfstylegan.data.formats import (
    cifar,
    crops,
    folder,
    lmdb_file,
    mnist,
    nvidia_records,
    svhn,
    tfds_data,
    zip_file,
)
from tfstylegan.data.tfrecords import records

KINDS = ("mnist", "cifar10", "cifar100", "svhn", "lsun", "lmdb", "crops", "tfds")
EXPECTED = (
    '"digits", a folder or .zip of images, a folder of TFRecords, an LMDB, or '
    f"KIND:PATH with KIND of {', '.join(KINDS)}"
)


def open_collection(
    name: str,
    *,
    height: int,
    width: int,
    labels: bool = True,
    skip_corrupt: bool = False,
) -> collection.Collection:
    """Opens a path, recognised by what is there, or KIND:PATH with one of KINDS.

    A path that exists is a path, whatever colons it has. height and width count for
    crops only. Raises ValueError for a name that means nothing and, beginning with the
    name, for what the format refuses.
    """
    kind, path = _split(name)
    if kind != "tfds":
        path = os.path.expanduser(path)
        if not os.path.exists(path):
            raise ValueError(f"{_told(name)} does not exist; expected {EXPECTED}")
    options = {"labels": labels, "skip_corrupt": skip_corrupt}
    openers: dict[str, Callable[[], collection.Collection]] = {
        "": lambda: _open_path(path, **options),
        "mnist": lambda: mnist.open_collection(path),
        "cifar10": lambda: cifar.open_collection(kind, path),
        "cifar100": lambda: cifar.open_collection(kind, path),
        "svhn": lambda: svhn.open_collection(path),
        "lsun": lambda: lmdb_file.open_collection(path),
        "lmdb": lambda: lmdb_file.open_collection(path),
        "tfds": lambda: tfds_data.open_collection(path, labels=labels),
        "crops": lambda: crops.open_collection(
            path, height=height, width=width, skip_corrupt=skip_corrupt
        ),
    }
    try:
        return openers[kind]()
    except ValueError as error:
        raise ValueError(f"{_told(name)}: {error}") from None


def _told(name: str) -> str:
    return f"data source {name!r} (--config.data.source)"


def _split(name: str) -> tuple[str, str]:
    """(kind, path); the kind is empty where the name is that of a path."""
    kind, colon, rest = name.partition(":")
    if not colon or kind not in KINDS or os.path.exists(os.path.expanduser(name)):
        return "", name
    if not rest:
        raise ValueError(f"{_told(name)} names no path after the colon")
    return kind, rest


def _open_path(
    path: str | os.PathLike, *, labels: bool, skip_corrupt: bool
) -> collection.Collection:
    path = pathlib.Path(path)
    if records.is_dataset(path):
        return records.open_collection(path)
    if nvidia_records.is_dataset(path):
        return nvidia_records.open_collection(path, labels=labels)
    if lmdb_file.is_dataset(path):
        return lmdb_file.open_collection(path)
    if path.is_dir():
        return folder.open_collection(path, labels=labels, skip_corrupt=skip_corrupt)
    if path.suffix.lower() == ".zip":
        return zip_file.open_collection(path, labels=labels, skip_corrupt=skip_corrupt)
    raise ValueError(f"is not a folder and of no known kind; expected {EXPECTED}")
