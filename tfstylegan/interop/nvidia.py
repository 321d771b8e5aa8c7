"""Published checkpoints -> our networks, and back to published names and layouts."""

import math

from tfstylegan import config as config_lib
from tfstylegan.interop import (
    arguments,
    naming,
    nvidia_pickle,
    tensorflow_arguments,
    tensorflow_names,
    torch_arguments,
    torch_names,
)
from tfstylegan.networks import build, storage

LAYOUTS = ("torch", "tensorflow")
ARGUMENTS = {"torch": torch_arguments, "tensorflow": tensorflow_arguments}
UNKNOWN_SOURCE = "datasets/unknown"  # the training set is not part of a checkpoint


def import_checkpoint(path, which=storage.NAMES):
    """(`storage.Networks`, notes) of a published checkpoint, whose code is never run.

    `path` is a pickle of StyleGAN, StyleGAN2 or StyleGAN2-ADA (TensorFlow) or of
    stylegan2-ada-pytorch; `which` names the networks wanted, of those that it holds.
    Notes tell, a sentence each, what of the file was left out.

    Raises:
      nvidia_pickle.PickleError: a ValueError, for a file that is no checkpoint.
      ValueError: for one whose networks ours do not compute.
      OSError: if it cannot be read.
    """
    try:
        checkpoint = nvidia_pickle.read(path)
    except nvidia_pickle.PickleError as error:
        raise nvidia_pickle.PickleError(f"{path}: {error}") from error
    return convert(checkpoint, which)


def import_discriminator(path):
    """(network, notes) of a pickle of one TensorFlow discriminator on its own.

    Raises as `import_checkpoint`.
    """
    try:
        record = nvidia_pickle.read_network(path)
        checkpoint = nvidia_pickle.Checkpoint("tensorflow", {"D": record})
        networks, notes = convert(checkpoint, ["D"])
    except nvidia_pickle.PickleError as error:
        raise nvidia_pickle.PickleError(f"{path}: {error}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return networks.D, notes


def convert(checkpoint, which=storage.NAMES):
    """`import_checkpoint` of a `nvidia_pickle.Checkpoint`."""
    unknown = [name for name in which if name not in storage.NAMES]
    if unknown or not which:
        raise ValueError(f"which must be of {storage.NAMES}; got {list(which)}")
    wanted = [name for name in which if name in checkpoint.networks]
    if not wanted:
        raise ValueError(f"the checkpoint holds {', '.join(checkpoint.networks)} only")
    records = {name: checkpoint.networks[name] for name in wanted}
    readings = {
        name: _reader(checkpoint.format, name)(record, name)
        for name, record in records.items()
    }
    config = _config(readings)
    networks = storage.Networks(G=None, D=None, G_ema=None, config=config)
    notes = [f"{name}: not in the checkpoint" for name in which if name not in records]
    for name, record in records.items():
        values, told = readings[name]
        make = build.build_discriminator if name == "D" else build.build_generator
        network = make(config, values.get("label_dim", 0))
        if checkpoint.format == "torch":
            kernel = _part(config, name).resample_kernel
            torch_names.check_filters(record.variables, kernel, name)
            arrays = record.variables
        else:
            arrays = tensorflow_names.collected(record)
        assign(network, arrays, checkpoint.format, name, values.get("fused_from"))
        setattr(networks, name, network)
        notes += told
    return networks, notes


def assign(network, arrays, layout, where="the checkpoint", fused_from=None):
    """Copies arrays under published names, {name: array}, into a network of ours.

    Those of a TensorFlow generator have the prefix of their part. `where` is for
    messages, `fused_from` as in `tensorflow_names.entries`. Raises ValueError where
    names or shapes are not those of the network.
    """
    if layout == "torch":
        entries = torch_names.entries(network)
        spare = [name for name in arrays if name.endswith("resample_filter")]
    else:
        fused_from = tensorflow_names.FUSED_FROM if fused_from is None else fused_from
        entries = tensorflow_names.entries(network, fused_from)
        arrays = tensorflow_names.completed(arrays, entries)
        # A network that does not grow may store the lod all the same, others twice.
        spare = ["lod", "G_synthesis/lod"]
    naming.assign(entries, arrays, where, spare)
    for name, variable, _ in entries:
        if name in spare:
            network.grow(float(variable))  # raises where it is out of range


def export_state(networks, layout="torch", which=storage.NAMES):
    """{"G_ema": {published name: array}, ...} of the networks of `which` that exist.

    Layout "torch": a complete state dict for `load_state_dict`, with its buffers;
    "tensorflow": the variables, those of G with the prefix of their part. Arrays are
    float32. Raises ValueError where `layout` has no such networks.
    """
    if layout not in LAYOUTS:
        raise ValueError(f"layout must be torch or tensorflow; got {layout!r}")
    states = {}
    for name, network in _chosen(networks, which).items():
        kind, version, _ = export_arguments(networks, layout, name)
        if layout == "tensorflow":
            state = naming.encoded(tensorflow_names.entries(network))
            if name != "D":
                state = tensorflow_names.published(state, kind, version)
        else:
            kernel = _part(networks.config, name).resample_kernel
            state = naming.encoded(torch_names.entries(network))
            state |= torch_names.buffers(state, kernel)
        states[name] = state
    return states


def export_arguments(networks, layout, name):
    """(kind, version, arguments) with which published code makes network `name`.

    Raises ValueError where it makes no such network.
    """
    config, network = networks.config, getattr(networks, name)
    if config.data.base_grid != (4, 4):
        raise ValueError(
            "published networks start at 4x4; the model's data.base_grid is "
            f"{config.data.base_grid}"
        )
    is_d = name == "D"
    label_dim = network.label_dim if is_d else network.mapping.label_dim
    values = arguments.values_of(config, label_dim)
    module = ARGUMENTS[layout]
    write = module.write_discriminator if is_d else module.write_generator
    return write(values)


def parameters(network):
    """How many numbers of a network are trained."""
    return sum(math.prod(v.shape) for v in network.trainable_weights)


def _chosen(networks, which):
    """{name: network} of those that exist."""
    found = {name: getattr(networks, name) for name in which}
    found = {name: network for name, network in found.items() if network is not None}
    if not found:
        raise ValueError(f"the model has none of {', '.join(which)}")
    return found


def _part(config, name):
    return config.discriminator if name == "D" else config.generator


def _reader(layout, name):
    module = ARGUMENTS[layout]
    return module.read_discriminator if name == "D" else module.read_generator


def _config(readings):
    """The `config.Config` that all networks of a checkpoint agree on."""
    config, told = config_lib.Config(), {}
    for name in sorted(readings, reverse=True):  # G_ema first, D last
        for field, value in readings[name].values.items():
            other, known = told.setdefault(field, (name, value))
            if known != value:
                raise ValueError(
                    f"{field} of {name} and {other} must agree; got {value!r} and "
                    f"{known!r}"
                )
    arguments.apply(config, {field: value for field, (_, value) in told.items()})
    config.data.labels = bool(told.get("label_dim", ("", 0))[1])
    config.data.source = UNKNOWN_SOURCE
    group = config.discriminator.mbstd_group_size
    if 0 < group < config.train.batch_size and config.train.batch_size % group:
        config.train.batch_size = 2 * group
    return config.validate()
