"""Where a run trains."""

import tensorflow as tf


def mirrored_strategy(config):
    """MirroredStrategy over all GPUs, or over the one CPU.

    Raises ValueError where a batch cannot be shared out evenly.
    """
    gpus = tf.config.list_logical_devices("GPU")
    devices = [gpu.name for gpu in gpus] or ["CPU:0"]
    count = len(devices)
    if config.precision.xla and count > 1:
        raise ValueError(f"config.precision.xla must be False on {count} devices")
    multiple = count * (config.loss.pl_batch_shrink if config.loss.pl_weight else 1)
    group = config.discriminator.mbstd_group_size
    for resolution in config.resolutions:
        batch = config.at_resolution(resolution).batch_size
        in_table = resolution in dict(config.growing.batch_size)
        name = f"config.{'growing' if in_table else 'train'}.batch_size"
        got = f"got {batch} at resolution {resolution}"
        if batch % multiple:
            raise ValueError(
                f"{name} must be a multiple of {multiple} on {count} devices; {got}"
            )
        if group and batch // count > group and batch // count % group:
            raise ValueError(
                f"{name} must give each of {count} devices a multiple of "
                f"discriminator.mbstd_group_size = {group}; {got}"
            )
    return tf.distribute.MirroredStrategy(devices)
