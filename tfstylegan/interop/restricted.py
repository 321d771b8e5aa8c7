"""What a pickle may ask for: names that stand for data, and a budget to stay in."""

import dataclasses
import os
from collections.abc import Callable
from typing import BinaryIO

CHUNK = 1 << 24  # bytes
LARGEST_KEY = 1 << 60  # Python's hash tells integers below apart


class PickleError(ValueError):
    """A pickle that is broken, hostile or not of a kind that is read."""


@dataclasses.dataclass(frozen=True)
class Limits:
    """What one file may cost. Checkpoints of 1024x1024 stay three times below."""

    file_bytes: int = 4 << 30
    operations: int = 500_000  # opcodes run and objects looked at
    depth: int = 200  # containers in containers
    expansion: int = 8  # bytes copied or converted to each byte of the file


class Budget:
    """What is left of the limits of one file, whatever pickles it nests."""

    def __init__(self, limits: Limits, file_bytes: int):
        self.limits = limits
        self.operations = limits.operations
        self.bytes = limits.expansion * file_bytes + (1 << 20)

    def spend(self, operations: int) -> None:
        self.operations -= operations
        if self.operations < 0:
            raise PickleError(
                f"the pickle takes more than {self.limits.operations} operations."
            )

    def spend_bytes(self, count: int) -> None:
        self.bytes -= count
        if self.bytes < 0:
            raise PickleError(
                f"the pickle's data take more than {self.limits.expansion} times the "
                "bytes of the file."
            )

    def check_depth(self, depth: int) -> None:
        if depth > self.limits.depth:
            raise PickleError(f"the pickle nests more than {self.limits.depth} levels.")


def read_all(path_or_file: str | os.PathLike | BinaryIO, most: int) -> bytes:
    """The bytes of a file; PickleError where it has more than `most`."""
    if isinstance(path_or_file, (str, os.PathLike)):
        with open(path_or_file, "rb") as file:
            return read_all(file, most)
    parts = []
    left = most
    while part := path_or_file.read(CHUNK):  # one read of `most` would reserve them
        left -= len(part)
        if left < 0:
            raise PickleError(f"the file has more than {most} bytes.")
        parts.append(part)
    return b"".join(parts)


@dataclasses.dataclass(frozen=True, eq=False)
class Global:
    """What a name in a pickle stands for: `call(args, budget)` makes the object."""

    name: str
    call: Callable[[tuple, Budget], object] | None = None
    is_class: bool = False  # NEWOBJ applies to classes, REDUCE to both


class Stateful:
    """An object that BUILD completes."""

    def set_state(self, state: object, budget: Budget) -> None:
        """Raises PickleError unless `state` has the one form that is expected."""
        raise NotImplementedError


def expect(what: str, args: object, *types: type | tuple[type, ...]) -> tuple:
    """`args` if it is a tuple of these types; PickleError that names `what` if not.

    A bool is an int only where the types say (bool, int).
    """
    if type(args) is tuple and len(args) == len(types):
        if all(
            isinstance(arg, kind) and (kind is not int or type(arg) is int)
            for arg, kind in zip(args, types)
        ):
            return args
    found = kind_of(args)
    if type(args) is tuple:
        found = f"({', '.join(map(kind_of, args[:10]))})"
    raise PickleError(f"{what} cannot be made from {found}.")


def kind_of(value: object) -> str:
    """What to call an object in an error: never its text, which may be endless."""
    return value.name if isinstance(value, Global) else type(value).__name__


def short(text: object) -> str:
    """repr of a string or number, at most some 80 characters."""
    text = text if isinstance(text, str) else str(text)
    return repr(text if len(text) <= 80 else text[:77] + "...")


def checked_keys(keys) -> list:
    """Keys that hash in bounded time: strings, bytes, None and small integers."""
    keys = list(keys)
    for key in keys:
        if key is None or type(key) in (str, bytes, bool):
            continue
        if type(key) is not int or abs(key) >= LARGEST_KEY:
            raise PickleError(f"{kind_of(key)} cannot be a key.")
    return keys


def set_items(target: dict, pairs) -> None:
    """Adds (key, value) pairs."""
    pairs = list(pairs)
    checked_keys(key for key, _ in pairs)
    target.update(pairs)
