"""The folder of a run: what it was started with, so that it can only go on as that.

config.json, data.json, stats.jsonl, checkpoints/, samples/, tensorboard/ and, when the
run is done, model/. Imports no TensorFlow: a wrong workdir is told at once.
"""

import dataclasses
import fcntl
import json
import os
import pathlib

from tfstylegan import checkpoints
from tfstylegan import config as config_lib

# What may differ when a run goes on: its length, what it writes, where the data lie
# (their fingerprint must be the same), on which devices it trains, and what no step
# depends on any more.
FREE = (
    "resume_from",
    "generator.truncation_psi",
    "generator.truncation_cutoff",
    "data.source",
    "data.skip_corrupt",
    "data.cache_mib",
    "train.total_kimg",
    "train.strategy",
    "train.max_batch_per_device",
    "growing.max_batch_per_device",
    "train.checkpoint_ticks",
    "train.keep_checkpoints",
    "train.image_ticks",
    "train.grid",
    "train.metrics",
    "train.metric_ticks",
    "train.metric_images",
    "train.detector_dir",
    "train.keep_best",
    "train.nonfinite",
    "train.nonfinite_steps",
    "train.rollbacks",
    "train.profile_ticks",
)


def lock(path):
    """Makes the folder and takes its lock: an open file, to be kept as long as needed.

    Raises ValueError where another process has it, OSError where it cannot be made.
    """
    path = pathlib.Path(path)
    path.mkdir(parents=True, exist_ok=True)
    file = (path / ".lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise ValueError(f"the workdir {path} is in use by another process") from None
    return file


def check(path, config):
    """Raises ValueError where the folder's run has other settings; changes nothing.

    For a new run also where the networks that it is to start with cannot be there.
    """
    path = pathlib.Path(path)
    if not _has_trained(path):
        _check_unsealed(path)
        _check_origin(path, config.resume_from)
        return
    theirs = _flat(dataclasses.asdict(config_lib.load(path)))
    ours = _flat(dataclasses.asdict(config))
    different = [n for n in ours if n not in FREE and ours[n] != theirs[n]]
    if different:
        name = different[0]
        more = f" (and {len(different) - 1} more)" if len(different) > 1 else ""
        raise ValueError(
            f"the workdir {path} holds a run with config.{name}={theirs[name]!r}, not "
            f"{ours[name]!r}{more}: use its settings or another --workdir"
        )


def check_data(path, source):
    """Raises ValueError where the folder's run is on other data; changes nothing."""
    path = pathlib.Path(path)
    if not _has_trained(path):
        return
    theirs = json.loads((path / config_lib.DATA_FILE).read_text())
    if theirs["fingerprint"] != source.fingerprint:
        raise ValueError(
            f"the workdir {path} holds a run on other data ({theirs['description']}; "
            f"now {source.description}): use these or another --workdir"
        )


def claim(path, config, source):
    """Writes config.json and data.json; the checks come before."""
    path = pathlib.Path(path)
    data = {
        "description": source.description,
        "fingerprint": source.fingerprint,
        "num_images": len(source),
        "label_dim": source.label_dim if config.data.labels else 0,
    }
    _write(path / "config.json", config.to_json())
    _write(path / config_lib.DATA_FILE, json.dumps(data, indent=2))


def _check_unsealed(path):
    """Earlier versions wrote no manifests: what they saved must not be overwritten."""
    if (path / config_lib.CHECKPOINTS / "checkpoint").exists():
        raise ValueError(
            f"the workdir {path} holds checkpoints without manifests (ckpt-*.json), as "
            "earlier versions wrote them: use another --workdir"
        )


def _check_origin(path, origin):
    if origin and pathlib.Path(origin).resolve() == path.resolve():
        raise ValueError(f"config.resume_from must not be the workdir itself; {path}")
    if origin:
        config_lib.load(origin)


def _has_trained(path):
    return bool(checkpoints.numbers(path / config_lib.CHECKPOINTS))


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
