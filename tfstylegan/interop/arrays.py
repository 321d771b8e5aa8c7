"""NumPy's dtypes, arrays and scalars, dicts and sets, as a pickle spells them."""

import math
import re

import numpy as np

from tfstylegan.interop.restricted import (
    Budget,
    Global,
    PickleError,
    Stateful,
    checked_keys,
    expect,
    set_items,
    short,
)

LARGEST_RANK = 8
LARGEST_SIZE = 1 << 48  # numbers, zero sizes counted as one
NUMERIC = re.compile(r"[<>=|]?(b1|[iu][1248]|f[248])")


class Dtype(Stateful):
    """A numeric dtype; its byte order comes with the state."""

    def __init__(self, name: str):
        if not NUMERIC.fullmatch(name):
            raise PickleError(f"dtype {short(name)} is not numeric.")
        self.numpy = np.dtype(name)

    def set_state(self, state: object, budget: Budget) -> None:
        none = type(None)
        kinds = (int, str, none, none, none, int, int, int)
        order = expect("the state of a dtype", state, *kinds)[1]
        if order not in ("<", ">", "|", "="):
            raise PickleError(f"a dtype has the byte order {short(order)}.")
        self.numpy = self.numpy.newbyteorder(order)


class Array(Stateful):
    """An array whose numbers come with the state; `numpy` is None before."""

    def __init__(self):
        self.numpy = None

    def set_state(self, state: object, budget: Budget) -> None:
        kinds = (int, tuple, Dtype, (bool, int), (bytes, str))
        what = "the state of an array"
        _, shape, dtype, fortran, data = expect(what, state, *kinds)
        flat = numbers(as_bytes(data, budget), dtype.numpy, budget)
        if math.prod(checked_shape(shape)) != flat.size:
            raise PickleError(f"{flat.size} numbers do not make an array {shape}.")
        self.numpy = flat.reshape(shape, order="F" if fortran else "C")


def numbers(data: bytes | memoryview, dtype: np.dtype, budget: Budget) -> np.ndarray:
    """The numbers in `data` [N * itemsize bytes] as an array [N], native byte order."""
    if len(data) % dtype.itemsize:
        raise PickleError(f"{len(data)} bytes are not a number of {dtype.name}.")
    if dtype.kind == "b":  # any byte but zero is true
        budget.spend_bytes(len(data))
        return np.frombuffer(data, np.uint8) != 0
    flat = np.frombuffer(data, dtype)
    if dtype.isnative:
        return flat
    budget.spend_bytes(len(data))
    return flat.astype(dtype.newbyteorder("="))


def checked_shape(shape: tuple) -> tuple:
    """`shape` if it is at most eight sizes of at least zero and of a sane product."""
    if len(shape) > LARGEST_RANK:
        raise PickleError(f"an array of {len(shape)} dimensions.")
    if not all(type(size) is int and size >= 0 for size in shape):
        raise PickleError("the sizes of an array are not all numbers of at least 0.")
    if math.prod(max(size, 1) for size in shape) > LARGEST_SIZE:
        raise PickleError(f"an array has more than {LARGEST_SIZE} numbers.")
    return shape


def as_bytes(data: bytes | str, budget: Budget) -> bytes:
    """Bytes as they are; the string that Python 2 wrote for them, encoded."""
    if isinstance(data, bytes):
        return data
    budget.spend_bytes(len(data))
    try:
        return data.encode("latin-1")
    except UnicodeEncodeError as error:
        raise PickleError("a string stands for bytes and is not latin-1.") from error


def _encode(args, budget):
    text, codec = expect("_codecs.encode", args, str, str)
    if codec not in ("latin1", "latin-1"):
        raise PickleError(f"_codecs.encode is asked for {short(codec)}.")
    return as_bytes(text, budget)


def _reconstruct(args, budget):
    what = "numpy's _reconstruct"
    kind, _, _ = expect(what, args, Global, tuple, (bytes, str))
    if kind is not NDARRAY:
        raise PickleError(f"{what} is asked for {kind.name}.")
    return Array()


def _dtype(args, budget):
    name, _, _ = expect("numpy.dtype", args, str, (bool, int), (bool, int))
    return Dtype(name)


def _scalar(args, budget):
    dtype, data = expect("numpy's scalar", args, Dtype, (bytes, str))
    flat = numbers(as_bytes(data, budget), dtype.numpy, budget)
    if flat.size != 1:
        raise PickleError(f"a scalar of {flat.size} numbers.")
    return flat[0]


def _dict(args, budget):
    """A dict, empty or from a list of pairs (as Python 2 writes an OrderedDict)."""
    pairs = () if not args else expect("a dict", args, list)[0]
    budget.spend(len(pairs))
    made = {}
    if not all(type(pair) in (list, tuple) and len(pair) == 2 for pair in pairs):
        raise PickleError("a dict cannot be made from what is not pairs.")
    set_items(made, pairs)
    return made


def _set(args, budget):
    items = expect("a set", args, list)[0] if args else ()
    budget.spend(len(items))
    return set(checked_keys(items))


NDARRAY = Global("numpy.ndarray", is_class=True)
NAMES = {
    ("numpy", "ndarray"): NDARRAY,
    ("numpy", "dtype"): Global("numpy.dtype", _dtype),
    ("_codecs", "encode"): Global("_codecs.encode", _encode),
    ("collections", "OrderedDict"): Global("collections.OrderedDict", _dict, True),
    ("builtins", "set"): Global("builtins.set", _set),
    ("__builtin__", "set"): Global("__builtin__.set", _set),
}
for module in ("dnnlib.util", "dnnlib", "config"):
    NAMES[module, "EasyDict"] = Global(f"{module}.EasyDict", _dict, True)
for module in ("numpy.core.multiarray", "numpy._core.multiarray"):
    for name, call in (("_reconstruct", _reconstruct), ("scalar", _scalar)):
        NAMES[module, name] = Global(f"{module}.{name}", call)
