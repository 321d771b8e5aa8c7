"""State dicts that torch.save wrote: names and arrays, without PyTorch.

In such a file the numbers come after the pickle that says what they are, so tensors are
put together once it has been read.
"""

import os
from typing import BinaryIO

import numpy as np

from tfstylegan.interop import entries, restricted, torch_storage
from tfstylegan.interop.restricted import Budget, Global, Limits, PickleError, kind_of


class Pending:
    """A tensor whose numbers have not been read."""

    def __init__(self, args: tuple):
        self.args = args


def read(
    path_or_file: str | os.PathLike | BinaryIO, *, limits: Limits | None = None
) -> dict[str, np.ndarray]:
    """{name: array} of a state dict, in its order; in both formats of torch files.

    Arrays are of the type in the file (bfloat16 as float32) and views that cannot be
    written to.

    Raises PickleError for a file that is broken, hostile or of another kind and
    OSError for one that cannot be opened.
    """
    limits = limits or Limits()
    data = restricted.read_all(path_or_file, limits.file_bytes)
    budget = Budget(limits, len(data))
    found = torch_storage.load_file(data, NAMES, budget)
    if type(found) is not dict:
        raise PickleError(f"the file holds {kind_of(found)}, not a state dict.")
    state = {}
    for name, value in found.items():
        name = entries.name_of("the state dict", name)
        if not isinstance(value, Pending):
            raise PickleError(f"{name} is {kind_of(value)}, not a tensor.")
        state[name] = torch_storage.rebuild_tensor(value.args, budget)
    return state


def _tensor(args: tuple, budget: Budget) -> Pending:
    return Pending(args)


def _tensor_of_2016(args: tuple, budget: Budget) -> Pending:
    """Before PyTorch 0.4 neither gradients nor hooks were told."""
    return Pending((*args, False, None))


def _parameter(args: tuple, budget: Budget) -> Pending:
    kinds = (Pending, bool, (dict, type(None)))
    return restricted.expect("torch's _rebuild_parameter", args, *kinds)[0]


NAMES = torch_storage.NAMES_IN_STORAGE | {
    ("torch", "Size"): torch_storage.NAMES["torch", "Size"],
    ("torch._utils", "_rebuild_tensor"): Global("_rebuild_tensor", _tensor_of_2016),
    ("torch._utils", "_rebuild_tensor_v2"): Global("_rebuild_tensor_v2", _tensor),
    ("torch._utils", "_rebuild_parameter"): Global("_rebuild_parameter", _parameter),
}
