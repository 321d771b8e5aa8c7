"""A folder of image files, sub-folders included."""

import os
import pathlib
import re
from collections.abc import Iterator, Sequence

import numpy as np
from absl import logging

from tfstylegan.data import collection
from tfstylegan.data.formats import dataset_json

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif")
SPLITS = {"train", "training", "val", "valid", "validation", "test", "testing"}


class Folder:
    """The images in and below a folder, in the order of their names."""

    def __init__(self, path: pathlib.Path, names: list[str], labels: np.ndarray):
        self.root = str(path)
        self.description = f"folder {path}"
        self.names = names
        self.labels = labels

    def __len__(self) -> int:
        return len(self.names)

    def read(self, index: int) -> bytes:
        return collection.read_file(self.path(index))

    def path(self, index: int) -> str:
        """Of the file that `read` gives the bytes of."""
        return os.path.join(self.root, self.names[index])


def open_collection(
    path: str | os.PathLike, *, labels: bool = True, skip_corrupt: bool = False
) -> Folder:
    """Opens a folder: files with one of ENDINGS, hidden names left out.

    With `labels`, those of its `dataset.json`, or else its sub-folders as classes, see
    `classes`. Links are followed, each folder once.

    Raises ValueError for a folder without images or one that cannot be listed, and for
    a `dataset.json` that does not fit the images; with `skip_corrupt` images without a
    label are left out, and named in the log.
    """
    path = pathlib.Path(path)
    names = sorted(_relative(file, path) for file in _image_files(path))
    check_any(names, "in the folder or below it")
    if not labels:
        return Folder(path, names, collection.no_labels(len(names)))
    file = path / dataset_json.NAME
    if file.is_file():
        data = collection.read_file(file)
        names, rows = labelled(names, data, path, skip_corrupt=skip_corrupt)
    else:
        rows = classes(names)
    return Folder(path, names, rows)


def check_any(names: Sequence[str], where: str) -> None:
    """Raises ValueError where there is no image."""
    if not names:
        endings = ", ".join(ENDINGS)
        raise ValueError(
            f"holds no image: expected files that end in {endings} {where}"
        )


def is_image(name: str) -> bool:
    """Whether a file called `name` (without its folder) is meant as an image."""
    return name.lower().endswith(ENDINGS) and not name.startswith(".")


def labelled(
    names: list[str], data: bytes, root: str | os.PathLike, *, skip_corrupt: bool
) -> tuple[list[str], np.ndarray]:
    """Names and labels float32 [N, T] after the `dataset.json` with bytes `data`.

    Raises ValueError that names the first image without label or label without image;
    with `skip_corrupt` the log names all of them and they are left out.
    """
    labels = dataset_json.parse(data)
    if not labels:
        return names, collection.no_labels(len(names))
    known, file = set(names), os.path.join(root, dataset_json.NAME)
    problems = [f"{name} has no label" for name in names if name not in labels]
    problems += [f"{name} has a label and no file" for name in labels.keys() - known]
    if problems and not skip_corrupt:
        raise ValueError(
            f"{file}: {min(problems)}, one of {len(problems)} such names; correct "
            "the file or pass --config.data.skip_corrupt=true to leave them out"
        )
    for problem in sorted(problems):
        logging.warning("%s: %s; left out", file, problem)
    names = [name for name in names if name in labels]
    check_any(names, f"with a label in {dataset_json.NAME}")
    return names, dataset_json.to_array([labels[name] for name in names])


def classes(names: Sequence[str]) -> np.ndarray:
    """Sub-folders as classes, float32 [N, T]; T = 0 where they are none.

    They are where every image lies in one, there are two or more, and they are neither
    the splits of a data set nor mere shards, which nothing but numbers such as 00000
    tell apart: an image's own name is then found in one of them only.
    """
    parts = [name.split("/") for name in names]
    folders = {part[0] for part in parts if len(part) > 1}
    flat = any(len(part) == 1 for part in parts)
    if flat or len(folders) < 2 or folders <= SPLITS or _are_shards(folders, parts):
        return collection.no_labels(len(names))
    numbers = all(folder.isdecimal() for folder in folders)
    order = sorted(folders, key=lambda name: (int(name) if numbers else 0, name))
    place = {folder: i for i, folder in enumerate(order)}
    return collection.one_hot([place[part[0]] for part in parts], len(order))


def _are_shards(folders: set[str], parts: list[list[str]]) -> bool:
    if not all(re.fullmatch(r"\d{3,}", folder) for folder in folders):
        return False
    files = [part[-1] for part in parts]
    return len(set(files)) == len(files)


def _image_files(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """Image files in and below `folder`; linked folders are followed, once each."""

    def refuse(error):
        raise ValueError(f"cannot list folder {error.filename}: {error.strerror}")

    seen = set()
    for parent, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        if os.path.realpath(parent) in seen:
            folders.clear()  # a link that leads back
            continue
        seen.add(os.path.realpath(parent))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            if is_image(name):
                yield pathlib.Path(parent, name)


def _relative(path: pathlib.Path, folder: pathlib.Path) -> str:
    return path.relative_to(folder).as_posix()
