"""Labels in a `dataset.json`: {"labels": [["00000/img00000000.png", 6], ...]}.

The format of StyleGAN2-ADA and StyleGAN3 for folders and zip files of images.
"""

import json
import math

import numpy as np

from tfstylegan.data import collection

NAME = "dataset.json"


def parse(data: bytes) -> dict[str, int | list[float]]:
    """Label by image name; empty where the file has none.

    All labels are integers from 0, or all of them are lists of numbers of one length.
    Raises ValueError that names the image whose label is neither.
    """
    try:
        content = json.loads(data)
    except ValueError as error:
        raise ValueError(f"{NAME} is no JSON ({error})") from None
    if not isinstance(content, dict):
        raise ValueError(f'{NAME} must hold an object with "labels"')
    entries = content.get("labels")
    if entries is None:
        return {}
    if not isinstance(entries, list):
        raise ValueError(f"the labels of {NAME} must be a list of [name, label]")
    labels = {}
    width = None  # of the first label; 0 for an integer
    for entry in entries:
        name, label = _pair(entry)
        if name in labels:
            raise ValueError(f"{NAME} has two labels for {name!r}")
        width = _width(name, label) if width is None else width
        if _width(name, label) != width:
            raise ValueError(
                f"{NAME}: labels must be all integers or all lists of one length; "
                f"{name!r} has {label!r}, unlike those before it"
            )
        labels[name] = label
    return labels


def to_array(labels: list[int | list[float]]) -> np.ndarray:
    """float32 [N, T] of the labels of N images; integers become one-hot rows."""
    if not labels or isinstance(labels[0], int):
        return collection.one_hot(labels)
    return np.array(labels, np.float32)  # [N, T]


def _pair(entry) -> tuple:
    if not isinstance(entry, list) or len(entry) != 2 or not isinstance(entry[0], str):
        raise ValueError(f"{NAME}: a label must be [name, label], got {entry!r}")
    return entry[0].replace("\\", "/"), entry[1]


def _width(name: str, label) -> int:
    if type(label) is int and 0 <= label < collection.MAX_CLASSES:
        return 0
    if isinstance(label, list) and 0 < len(label) <= collection.MAX_CLASSES:
        if all(type(x) in (int, float) and math.isfinite(x) for x in label):
            return len(label)
    raise ValueError(
        f"{NAME}: the label of {name!r} must be an integer from 0 to "
        f"{collection.MAX_CLASSES - 1} or a list of finite numbers, got {label!r}"
    )
