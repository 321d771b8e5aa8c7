"""Trains StyleGAN: `python -m tfstylegan.train [--config=FILE] [--workdir=DIR]`.

Without flags it trains configs/digits32.py on the built-in digits. The same command
again resumes. Any field of the configuration can be changed on the command line:
--config.train.batch_size=16 --config.data.source=/path/to/images
"""

import pathlib
import sys

from absl import flags, logging

from tfstylegan import cli


def main(argv):
    del argv
    with cli.one_sentence():
        config = flags.FLAGS.config.validate()
        if flags.FLAGS.dry_run:
            print(config.to_json())
            return
        name = pathlib.Path(flags.FLAGS["config"].config_filename).stem
        path = pathlib.Path(flags.FLAGS.workdir or f"runs/{name}")
        lock, source = _open(path, config)
    with lock:
        stopped_by = _train(config, path, source)
    if stopped_by:
        print(f"stopped by {stopped_by.name}, all saved: the same command goes on")
        sys.exit(128 + stopped_by)
    print(f"samples:     {path}/samples")
    print(f"model:       {path}")
    print(f"TensorBoard: tensorboard --logdir {path}/tensorboard")


def _open(path, config):
    """The lock of the workdir and the data; all that can be told without TensorFlow."""
    from tfstylegan.data import sources
    from tfstylegan.training import workdir

    workdir.check(path, config)
    height, width = config.data.image_size
    source = sources.open_source(
        config.data.source,
        height=height,
        width=width,
        channels=config.data.channels,
        labels=config.data.labels,
        max_images=config.data.max_images,
        skip_corrupt=config.data.skip_corrupt,
        cache_bytes=config.data.cache_mib << 20,
    )
    if config.data.labels and not source.label_dim:
        raise ValueError(
            f"config.data.labels needs labels, and {config.data.source} has none"
        )
    workdir.check_data(path, source)
    return workdir.lock(path), source


def _train(config, path, source):
    """Runs the loop; returns the signal that stopped it, or None."""
    quiet = flags.FLAGS["verbosity"].present == 0
    if quiet:
        logging.set_verbosity(logging.INFO)  # what was chosen, and why
    from tfstylegan import ops  # TensorFlow takes seconds
    from tfstylegan.training import devices, loop, workdir

    with cli.one_sentence(RuntimeError):
        ops.library.describe()  # TFSTYLEGAN_OPS=compiled where there is no library
    with cli.one_sentence():
        run = loop.Loop(config, path, source, devices.mirrored_strategy(config))
        workdir.claim(path, config, source)
    if quiet:
        logging.set_verbosity(logging.WARNING)  # TensorFlow tells of every file
    try:
        return run.run()
    except (loop.Diverged, OSError) as error:
        sys.exit(f"error: {error}")


def _define_flags():
    cli.define_config()
    flags.DEFINE_string(
        "workdir", None, "Folder of the run; by default runs/<name of the config file>."
    )
    flags.DEFINE_bool("dry_run", False, "Print the resolved configuration and leave.")


if __name__ == "__main__":
    _define_flags()
    cli.run(main)
