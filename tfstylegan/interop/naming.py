"""Tables between our variables and those of published networks, read both ways.

A row is (path of ours, published name, codec). In a path "{r}x{r}" stands for a size
and "{i}" for a number; the published name may use both, and of a size 2^k in a network
of size 2^top

  {lod}: top - k
  {up}, {one}, {two}: 2k - 5, 2k - 4, 2k - 3, by which published layers are numbered
"""

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np


class Codec(NamedTuple):
    """How an array is stored; each function is the other's inverse."""

    decode: Callable[[np.ndarray], np.ndarray]  # published -> ours
    encode: Callable[[np.ndarray], np.ndarray]  # ours -> published


def _axes(*order):
    back = tuple(int(axis) for axis in np.argsort(order))
    return Codec(lambda a: a.transpose(order), lambda a: a.transpose(back))


def _reversed(codec):
    """`codec` for kernels that are also reversed in both spatial axes."""
    return Codec(
        lambda a: codec.decode(a)[::-1, ::-1], lambda a: codec.encode(a[::-1, ::-1])
    )


def _without_batch(codec):
    """`codec` for arrays that lack the batch axis of length 1."""
    return Codec(lambda a: codec.decode(a[np.newaxis]), lambda a: codec.encode(a)[0])


SAME = Codec(lambda a: a, lambda a: a)
TRANSPOSED = _axes(1, 0)  # [F, C] <-> [C, F]
NCHW = _axes(0, 2, 3, 1)  # <-> [N, H, W, C]
CHW = _without_batch(NCHW)  # <-> [1, H, W, C]
HW = _without_batch(CHW)  # <-> [1, H, W, 1]
OIHW = _axes(2, 3, 1, 0)  # [F, C, K, K] <-> [K, K, C, F]
OIHW_REVERSED = _reversed(OIHW)
HWIO_REVERSED = _reversed(SAME)
# TensorFlow's StyleGAN2 adds 1 where it uses the number. Exact back and forth for what
# was decoded; a bias nearer to 0 than 1/2 loses its last bits when encoded.
LESS_ONE = Codec(lambda a: a + np.float32(1), lambda a: a - np.float32(1))


class Entry(NamedTuple):
    """A variable of ours and where published networks keep it."""

    name: str
    variable: object  # of Keras
    codec: Codec


def product(modules: dict, fields: dict, separator: str) -> list[tuple]:
    """Rows of every module {ours: published} and field {ours: (published, codec)}."""
    return [
        (f"{module}/{field}", f"{theirs}{separator}{name}", codec)
        for module, theirs in modules.items()
        for field, (name, codec) in fields.items()
    ]


def entries(network, rows: Iterable[tuple], layout: str) -> list[Entry]:
    """One entry for every variable of a network; the first row that fits counts.

    Raises ValueError for a variable that `layout` has no name for.
    """
    top = (network.synthesis if hasattr(network, "synthesis") else network).doublings
    patterns = [(_pattern(ours), name, codec) for ours, name, codec in rows]
    result = []
    for variable in network.weights:
        path = variable.path.partition("/")[2]  # without the name of the network
        fits = ((p.fullmatch(path), name, codec) for p, name, codec in patterns)
        match, name, codec = next((fit for fit in fits if fit[0]), (None, "", SAME))
        if match is None:
            raise ValueError(
                f"the published layout {layout} has no counterpart of the variable "
                f"{variable.path}"
            )
        numbers = _numbers(match.groupdict(), top + 2)
        result.append(Entry(name.format(**numbers), variable, codec))
    return result


def _pattern(path):
    path = path.replace("{r}x{r}", r"(?P<r>\d+)x(?P=r)")
    return re.compile(path.replace("{i}", r"(?P<i>\d+)"))


def _numbers(found, top):
    numbers = {key: int(value) for key, value in found.items()}
    if "r" in numbers:
        k = numbers["r"].bit_length() - 1
        numbers |= {"lod": top - k, "up": 2 * k - 5, "one": 2 * k - 4, "two": 2 * k - 3}
    return numbers


def assign(entries: list[Entry], arrays: dict, where: str, ignored=()) -> None:
    """Copies published arrays {name: array} into the variables of `entries`.

    Raises ValueError, before anything is copied, for an array that is missing, has
    another shape or no place; names in `ignored` need none. `where` is for messages.
    """
    names = [entry.name for entry in entries]
    missing = [name for name in names if name not in arrays]
    if missing:
        raise ValueError(f"{where} lacks {_listed(missing)}")
    spare = [name for name in arrays if name not in {*names, *ignored}]
    if spare:
        raise ValueError(f"{where} holds what has no place: {_listed(spare)}")
    values = []
    for name, variable, codec in entries:
        array = np.asarray(arrays[name], np.dtype(variable.dtype))
        expected = codec.encode(np.empty(variable.shape, np.float32)).shape
        if array.shape != expected:
            raise ValueError(
                f"{name} of {where} must be {list(expected)}; got {list(array.shape)}"
            )
        values.append(codec.decode(array))
    for entry, value in zip(entries, values, strict=True):
        entry.variable.assign(value)


def encoded(entries: list[Entry]) -> dict[str, np.ndarray]:
    """{published name: array} of the variables of `entries`."""
    return {
        name: np.array(codec.encode(np.asarray(variable)), order="C")
        for name, variable, codec in entries
    }


def _listed(names):
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more
