"""Checkpoints of a run on disk: whole and unchanged, or told what is wrong with them.

`ckpt-N` (N images seen) consists of TensorFlow's files and of `ckpt-N.json`, which is
written last, with the size and the SHA-256 of each. Without it a checkpoint does not
count: its writing was cut off.
"""

import hashlib
import json
import os
import pathlib
import re
import shutil

from absl import logging

PARTIAL = "partial-ckpt-"
NOTES = ".notes"
NAME = re.compile(r"ckpt-(\d+)\.(.+)")
MANIFEST = "json"


def numbers(folder):
    """Images seen of the checkpoints in a folder that were written to the end."""
    return sorted(n for n, endings in _endings(folder).items() if MANIFEST in endings)


def path_of(folder, number):
    """What TensorFlow calls the checkpoint: its files have this path and endings."""
    return str(pathlib.Path(folder) / f"ckpt-{number}")


def newest_sound(folder):
    """Number of the newest checkpoint that is as it was written; None without any.

    Logs what is wrong with newer ones. Raises ValueError where all are damaged.
    """
    damaged = []
    for number, endings in sorted(_endings(folder).items(), reverse=True):
        if MANIFEST not in endings:
            logging.warning(
                "checkpoint left aside: there is no %s.json; either its writing was "
                "cut off or this file was removed",
                path_of(folder, number),
            )
            continue
        damage = damage_of(folder, number)
        if not damage:
            return number
        damaged.append(damage)
        logging.warning("damaged checkpoint left aside: %s", damage)
    if damaged:
        raise ValueError(
            f"every checkpoint in {folder} is damaged, the newest: {damaged[0]}"
        )
    return None


def damage_of(folder, number):
    """What is wrong with a checkpoint, naming the file; None for a sound one."""
    manifest = pathlib.Path(path_of(folder, number) + ".json")
    try:
        told = json.loads(manifest.read_text())
        files = told["files"]
        expected = {name: (of["bytes"], of["sha256"]) for name, of in files.items()}
        if told["cur_nimg"] != number or not expected:
            return f"{manifest} is not of this checkpoint"
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return f"{manifest} cannot be read"
    says = f"than {manifest.name} says"  # which may be the one that is damaged
    for name, (size, digest) in expected.items():
        file = manifest.parent / name
        try:
            if file.stat().st_size != size:
                return f"{file} has {file.stat().st_size} bytes, other {says}: {size}"
            if _sha256(file) != digest:
                return f"{file} has other contents {says}"
        except OSError as error:
            return f"{file}, which {manifest.name} names: {error.strerror}"
    return None


def notes_of(folder, number):
    """A dictionary that was to be kept with a checkpoint; {} where none was."""
    file = pathlib.Path(path_of(folder, number) + NOTES)
    return json.loads(file.read_text()) if file.exists() else {}


def write(checkpoint, folder, number, *, keep, notes=None):
    """Writes a `tf.train.Checkpoint` as `ckpt-<number>`, whole or not at all.

    `notes`, what `notes_of` gives back, are sealed with it. The `keep` newest stay.
    Any of a higher number goes: the run that writes this one could not go on from it.
    Raises OSError where it cannot be written; nothing that was there is lost then.
    """
    import tensorflow as tf  # takes seconds: only when used

    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    final, partial = path_of(folder, number), str(folder / f"{PARTIAL}{number}")
    try:
        _clear(folder)
        checkpoint.write(partial)
        if notes:
            pathlib.Path(partial + NOTES).write_text(json.dumps(notes))
        manifest = _sealed(partial, number)
        _discard(final)
        for file in _files(partial):
            if file != manifest:
                file.replace(final + str(file).removeprefix(partial))
        manifest.replace(f"{final}.json")
    except (OSError, tf.errors.OpError) as error:
        _clear(folder)
        raise OSError(f"{final} was not written: {error}") from error
    kept = [n for n in numbers(folder) if n <= number][-keep:]
    for other in _endings(folder).keys() - set(kept):
        _discard(path_of(folder, other))
    paths = [path_of(folder, n) for n in kept]  # for TensorFlow's own tools
    tf.compat.v1.train.update_checkpoint_state(str(folder), paths[-1], paths)


def _endings(folder):
    """{number: endings of the files} of all checkpoints, complete or not."""
    folder, found = pathlib.Path(folder), {}
    for name in os.listdir(folder) if folder.is_dir() else ():
        match = NAME.fullmatch(name)
        if match:
            found.setdefault(int(match[1]), set()).add(match[2])
    return found


def _sealed(partial, number):
    """The manifest of files that are on the disk, itself one of them."""
    files = {}
    for file in _files(partial):
        _flush(file)
        name = f"ckpt-{number}" + str(file).removeprefix(partial)
        files[name] = {"bytes": file.stat().st_size, "sha256": _sha256(file)}
    manifest = pathlib.Path(f"{partial}.json")
    manifest.write_text(json.dumps({"cur_nimg": number, "files": files}, indent=1))
    _flush(manifest)
    return manifest


def _clear(folder):
    """Deletes what is left of writing that was cut off."""
    for path in folder.glob(f"{PARTIAL}*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _discard(path):
    """Deletes a checkpoint, the manifest first: nothing half deleted counts."""
    pathlib.Path(f"{path}.json").unlink(missing_ok=True)
    for file in _files(path):
        file.unlink()


def _files(path):
    return sorted(pathlib.Path(path).parent.glob(f"{os.path.basename(path)}.*"))


def _sha256(file):
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _flush(file):
    """Hands a file over to the disk, where a full one shows."""
    with file.open("rb") as stream:
        os.fsync(stream.fileno())
