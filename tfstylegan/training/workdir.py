"""The folder of a run: what it was started with, so that it can only go on as that.

config.json, data.json, stats.jsonl, checkpoints/, samples/, tensorboard/ and, when the
run is done, model/. Imports no TensorFlow: a wrong workdir is told at once.
"""

import dataclasses
import json
import os
import pathlib

from tfstylegan import config as config_lib

# What may differ when a run goes on: its length and what it writes.
FREE = (
    "train.total_kimg",
    "train.checkpoint_ticks",
    "train.keep_checkpoints",
    "train.image_ticks",
    "train.grid",
    "train.metrics",
    "train.metric_ticks",
    "train.metric_images",
)


def claim(path, config, source):
    """Makes `path` the workdir of this run, or checks that it already is.

    Raises ValueError where it belongs to a run with other settings or other data, and
    OSError where it cannot be written. Nothing in it is changed in these cases.
    """
    path = pathlib.Path(path)
    _check_config(path, config)
    data = {
        "description": source.description,
        "fingerprint": source.fingerprint,
        "num_images": len(source),
        "label_dim": source.label_dim if config.data.labels else 0,
    }
    _check_data(path, data)
    path.mkdir(parents=True, exist_ok=True)
    _write(path / "config.json", config.to_json())
    _write(path / "data.json", json.dumps(data, indent=2))
    return path


def check(path, config):
    """Raises what `claim` would raise for the settings, before the data are read."""
    path = pathlib.Path(path)
    _check_config(path, config)
    path.mkdir(parents=True, exist_ok=True)
    if not os.access(path, os.W_OK):
        raise ValueError(f"the workdir {path} cannot be written to")


def _check_config(path, config):
    stored = path / "config.json"
    if not stored.is_file():
        return
    theirs = _flat(dataclasses.asdict(config_lib.from_json(stored.read_text())))
    ours = _flat(dataclasses.asdict(config))
    different = [name for name in ours if ours[name] != theirs[name]]
    different = [name for name in different if name not in FREE]
    if different:
        name = different[0]
        more = f" (and {len(different) - 1} more)" if len(different) > 1 else ""
        raise ValueError(
            f"the workdir {path} holds a run with config.{name}={theirs[name]!r}, not "
            f"{ours[name]!r}{more}: use its settings or another --workdir"
        )


def _check_data(path, data):
    stored = path / "data.json"
    if not stored.is_file():
        return
    theirs = json.loads(stored.read_text())
    if theirs["fingerprint"] != data["fingerprint"]:
        raise ValueError(
            f"the workdir {path} holds a run on other data ({theirs['description']}; "
            f"now {data['description']}): use these or another --workdir"
        )


def _flat(node, prefix=""):
    flat = {}
    for name, value in node.items():
        if isinstance(value, dict):
            flat.update(_flat(value, f"{prefix}{name}."))
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _write(path, text):
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text)
    os.replace(partial, path)
