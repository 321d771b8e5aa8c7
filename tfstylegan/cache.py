"""The folder where compiled ops, downloads and statistics of data sets are kept."""

import os
import pathlib
import tempfile
import zipfile

from absl import logging


def folder():
    """TFSTYLEGAN_CACHE, by default `$XDG_CACHE_HOME/tfstylegan` or `~/.cache/...`."""
    chosen = os.environ.get("TFSTYLEGAN_CACHE")
    if chosen:
        return pathlib.Path(chosen)
    home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(home) / "tfstylegan"


def load(file):
    """Arrays by name that `store` wrote; None where there are none, or damaged ones."""
    import numpy as np  # only when used

    try:
        with np.load(file) as arrays:
            return dict(arrays)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def store(file, arrays):
    """Writes them whole or not at all; what cannot be written is computed again."""
    import numpy as np

    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".partial-", dir=file.parent) as folder:
            np.savez(f"{folder}/arrays.npz", **arrays)
            os.replace(f"{folder}/arrays.npz", file)
    except OSError as error:
        logging.warning("%s is not kept: %s", file, error.strerror or error)
