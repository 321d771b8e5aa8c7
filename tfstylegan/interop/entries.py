"""Entries of a network's state: checked, and as plain Python and NumPy values.

What is not as it has to be raises PickleError, which says `where` it was found.
"""

import numpy as np

from tfstylegan.interop import arrays
from tfstylegan.interop.restricted import Budget, PickleError, kind_of, short

SCALARS = (type(None), bool, int, float, str)


def is_simple(value: object) -> bool:
    """Whether it is a number, a string, None, or a short list of these."""
    if type(value) in (list, tuple):
        return len(value) < 100 and all(type(item) in SCALARS for item in value)
    return type(value) in SCALARS or isinstance(value, np.generic)


def name_of(where: str, name: object) -> str:
    """`name` if it can be shown."""
    if type(name) is not str or len(name) > 200 or not name.isprintable():
        raise PickleError(f"{where} has a name that is not a short plain string.")
    return name


def shown(value: object) -> str:
    """For an error: a number or text itself, else what kind it is."""
    return short(value) if type(value) in (int, str) else kind_of(value)


def entry(where: str, state: dict, key: str, kind: type, default=None):
    """state[key], which has to be of exactly this kind."""
    value = state.get(key, default)
    if type(value) is not kind:
        raise PickleError(f"{where} has {kind_of(value)} as its {key}.")
    return value


def array(where: str, value: object) -> np.ndarray:
    """A variable's numbers; a scalar as an array of shape []."""
    value = value.numpy if isinstance(value, arrays.Array) else value
    if isinstance(value, (np.ndarray, np.generic)):
        return np.asarray(value)
    raise PickleError(f"{where} is {kind_of(value)}, not an array.")


def plain_entries(where: str, entries: dict, budget: Budget) -> dict:
    """As `plain`, for a dict whose keys are names."""
    return {
        name_of(f"one of the {where}", name): plain(where, value, budget, 1)
        for name, value in entries.items()
    }


def plain(where: str, value: object, budget: Budget, depth: int = 0):
    """A copy in which arrays are NumPy's and everything else is Python's."""
    budget.spend(5)
    budget.check_depth(depth)
    if type(value) in SCALARS or isinstance(value, (bytes, np.ndarray)):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, arrays.Array):
        return array(where, value)
    if type(value) is dict:
        return {
            key: plain(where, item, budget, depth + 1) for key, item in value.items()
        }
    if type(value) in (list, tuple):
        return type(value)(plain(where, item, budget, depth + 1) for item in value)
    if type(value) is set:
        budget.spend(len(value))
        return set(value)
    raise PickleError(f"the {where} hold {kind_of(value)}.")
