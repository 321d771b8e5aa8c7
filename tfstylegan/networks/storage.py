"""Networks on disk: a run's workdir, or a model directory of `.keras` files."""

import dataclasses
import json
import pathlib

import keras
import tensorflow as tf

from tfstylegan import checkpoints
from tfstylegan import config as config_lib
from tfstylegan.networks import build

NAMES = ("G", "D", "G_ema")
RUN_FIELDS = {"G": "g", "D": "d", "G_ema": "g_ema"}  # of a checkpoint


@dataclasses.dataclass
class Networks:
    """What `load_networks` gives; networks that are absent are None."""

    G: keras.Model | None
    D: keras.Model | None
    G_ema: keras.Model | None
    config: config_lib.Config
    cur_nimg: int | None = None  # real images seen; None where it is not recorded


def load_networks(path):
    """Loads the networks of a run's workdir (newest checkpoint) or a model directory.

    Raises ValueError where `path` is neither.
    """
    path = pathlib.Path(path)
    config = config_lib.load(path)
    folder = path / config_lib.CHECKPOINTS
    newest = checkpoints.newest_sound(folder)
    if newest is not None:
        run = json.loads((path / config_lib.DATA_FILE).read_text())
        saved = checkpoints.path_of(folder, newest)
        return _from_checkpoint(saved, config, run["label_dim"])
    files = {name: path / f"{name}.keras" for name in NAMES}
    if not any(file.is_file() for file in files.values()):
        raise ValueError(f"{path} holds neither a checkpoint nor a .keras file yet")
    loaded = {
        name: keras.saving.load_model(file) if file.is_file() else None
        for name, file in files.items()
    }
    return Networks(**loaded, config=config)


def save_networks(path, networks):
    """Writes a model directory: config.json and a `.keras` file for each network."""
    path = pathlib.Path(path)
    path.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        network = getattr(networks, name)
        if network is not None:
            partial = path / f"partial-{name}.keras"
            network.save(partial)
            partial.replace(path / f"{name}.keras")
    (path / config_lib.CONFIG_FILE).write_text(networks.config.to_json())


def variables_by_path(owner):
    """{path: variable} of a Keras network or optimizer, to be checkpointed.

    TensorFlow's own tracking of Keras objects leaves out layers that stand in lists.
    """
    paths = [variable.path for variable in owner.variables]
    if len(set(paths)) != len(paths):
        raise ValueError(f"the variables of {owner.name} must have different paths")
    return {variable.path: variable.value for variable in owner.variables}


def _from_checkpoint(saved, config, label_dim):
    loaded = {
        "G": build.build_generator(config, label_dim),
        "D": build.build_discriminator(config, label_dim),
        "G_ema": build.build_generator(config, label_dim),
    }
    cur_nimg = tf.Variable(0, dtype=tf.int64)
    fields = {
        RUN_FIELDS[name]: variables_by_path(network) for name, network in loaded.items()
    }
    checkpoint = tf.train.Checkpoint(cur_nimg=cur_nimg, **fields)
    status = checkpoint.read(saved)
    status.assert_existing_objects_matched().expect_partial()
    return Networks(**loaded, config=config, cur_nimg=int(cur_nimg))
