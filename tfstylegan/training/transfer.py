"""Starting a run with the networks of another one, or of an imported model."""

import numpy as np

from tfstylegan.networks import storage

# Taken over by: our field, then what to take in order of preference.
SOURCES = {"g": ("G", "G_ema"), "d": ("D",), "g_ema": ("G_ema", "G")}
OWN = "/lod"  # follows this run's schedule


def take_over(state, path):
    """Sets the networks of a fresh `state.State` to those of a workdir or model.

    Optimizers, path-length mean and counters stay as they are. The growth of the
    networks does too.

    Raises ValueError where `path` is no model, lacks a network, or its variables are
    not those of the state; nothing is changed then.
    """
    networks = storage.load_networks(path)
    pairs = []
    for field, names in SOURCES.items():
        found = [getattr(networks, name) for name in names if getattr(networks, name)]
        if not found:
            raise ValueError(f"config.resume_from: {path} has no network {names[0]}")
        pairs += _matched(getattr(state, field), found[0], path)
    for variable, value in pairs:
        variable.assign(value)


def _matched(ours, theirs, path):
    """(variable of ours, value of theirs) of two networks with the same variables."""
    ours, theirs = (
        {v.path: v for v in network.variables if not v.path.endswith(OWN)}
        for network in (ours, theirs)
    )
    for name in [*ours, *theirs]:
        shapes = [
            tuple(variables[name].shape) if name in variables else None
            for variables in (ours, theirs)
        ]
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"config.resume_from: {path} must have the networks of this run; its "
                f"{name} {_described(shapes[1])}, this run's {_described(shapes[0])}"
            )
    return [(v, np.asarray(theirs[name])) for name, v in ours.items()]


def _described(shape):
    return "does not exist" if shape is None else f"has shape {list(shape)}"
