"""A zip file of images, stored or compressed, as StyleGAN2-ADA and 3 make it."""

import os
import pathlib
import zipfile
import zlib

import numpy as np
from absl import logging

from tfstylegan.data import collection
from tfstylegan.data.formats import dataset_json, folder


class ZipFile:
    """The images of a zip file, in the order of their names; nothing is unpacked."""

    def __init__(
        self,
        path: pathlib.Path,
        archive: zipfile.ZipFile,
        names: list[str],
        labels: np.ndarray,
    ):
        self.root = str(path)
        self.description = f"zip {path}"
        self.names = names
        self.labels = labels
        self._archive = archive

    def __len__(self) -> int:
        return len(self.names)

    def read(self, index: int) -> bytes:
        return _read(self._archive, self.names[index])


def open_collection(
    path: str | os.PathLike, *, labels: bool = True, skip_corrupt: bool = False
) -> ZipFile:
    """Opens a zip file; which names count, and labels, are as in `folder`.

    The same images as in a folder make the same collection. Raises ValueError for a
    file that is no zip or a damaged one, for names that lead out of it, and for what
    `folder.open_collection` refuses; with `skip_corrupt` such names are left out, and
    named in the log.
    """
    path = pathlib.Path(path)
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise ValueError(f"is no zip file or a damaged one ({error})") from None
    names = _image_names(archive, path, skip_corrupt=skip_corrupt)
    folder.check_any(names, "inside")
    rows = collection.no_labels(len(names))
    if labels and dataset_json.NAME in archive.namelist():
        data = _read(archive, dataset_json.NAME)
        names, rows = folder.labelled(names, data, path, skip_corrupt=skip_corrupt)
    elif labels:
        rows = folder.classes(names)
    return ZipFile(path, archive, names, rows)


def _image_names(
    archive: zipfile.ZipFile, path: pathlib.Path, *, skip_corrupt: bool
) -> list[str]:
    names = set()
    for name in archive.namelist():
        parts = name.split("/")
        if not folder.is_image(parts[-1]):
            continue
        problem = "twice in the zip file" if name in names else _leads_out(name)
        if problem and not skip_corrupt:
            raise ValueError(
                f"{path}/{name}: {problem}; pass --config.data.skip_corrupt=true to "
                "leave such names out"
            )
        if problem:
            logging.warning("skipping %s/%s (%s)", path, name, problem)
        elif not any(part.startswith(".") for part in parts):
            names.add(name)
    return sorted(names)


def _leads_out(name: str) -> str | None:
    parts = name.split("/")
    if parts[0] == "" or ".." in parts or "\\" in name or parts[0].endswith(":"):
        return "a name that leads out of the zip file"
    return None


def _read(archive: zipfile.ZipFile, name: str) -> bytes:
    """Checked against its CRC; zipfile locks the file while it seeks and reads."""
    collection.check_size(archive.getinfo(name).file_size)  # reads stop there
    try:
        return archive.read(name)
    except (
        *(zipfile.BadZipFile, zlib.error, EOFError),
        *(NotImplementedError, RuntimeError),  # compressed in another way, encrypted
    ) as error:
        raise ValueError(f"damaged in the zip file ({error})") from None
