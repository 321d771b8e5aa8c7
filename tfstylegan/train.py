"""Trains StyleGAN: `python -m tfstylegan.train [--config=FILE] [--workdir=DIR]`.

Without flags it trains configs/digits32.py on the built-in digits. The same command
again resumes. Any field of the configuration can be changed on the command line:
--config.train.batch_size=16 --config.data.source=/path/to/images

On several machines, the same command on each, with TF_CONFIG telling who is who. Where
one of them is lost the others start again and wait for it.
"""

import contextlib
import os
import pathlib
import sys
import time

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
        cluster = _cluster(config)
        is_chief = not cluster or cluster.is_chief
        lock, source = _open(path, config, is_chief)
    with lock:
        stopped_by = _train(config, path, source, cluster)
    if stopped_by:
        print(f"stopped by {stopped_by.name}, all saved: the same command goes on")
        sys.exit(128 + stopped_by)
    if not is_chief:
        print(f"worker {cluster.index} is done; the chief has all there is to see")
        return
    print(f"samples:     {path}/samples")
    print(f"model:       {path}")
    print(f"TensorBoard: tensorboard --logdir {path}/tensorboard")


def _cluster(config):
    from tfstylegan.training import cluster

    return cluster.find(config.train.strategy)


def _open(path, config, is_chief):
    """The lock of the workdir and the data; all that can be told without TensorFlow.

    The workdir is the chief's; other workers need not see it.
    """
    from tfstylegan.data import sources
    from tfstylegan.training import workdir

    if is_chief:
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
    if not is_chief:
        return contextlib.nullcontext(), source
    workdir.check_data(path, source)
    return workdir.lock(path), source


def _train(config, path, source, cluster):
    """Runs the loop; returns the signal that stopped it, or None."""
    quiet = flags.FLAGS["verbosity"].present == 0
    if quiet:
        logging.set_verbosity(logging.INFO)  # what was chosen, and why
    from tfstylegan import ops  # TensorFlow takes seconds
    from tfstylegan.training import devices, loop, safety, workdir, workers

    with cli.one_sentence(RuntimeError):
        ops.library.describe()  # TFSTYLEGAN_OPS=compiled where there is no library
    run = None
    try:
        with cli.one_sentence():
            strategy = devices.strategy(config, cluster)
            team = workers.Workers(strategy, cluster)
            team.check_same("configuration", config.to_json())
            team.check_same("data", source.fingerprint)
            run = loop.Loop(config, path, source, strategy, team)
            if team.is_chief:
                workdir.claim(path, config, source)
        if quiet:
            logging.set_verbosity(logging.WARNING)  # TensorFlow tells of every file
        return run.run()
    except (safety.Diverged, workers.Differ, OSError) as error:
        sys.exit(f"error: {error}")
    except Exception as error:
        if not cluster or not workers.is_lost(error):
            raise
        _start_again(error, run.received if run else None)


def _start_again(error, received):
    """The same command in the place of this process, unless it was told to stop.

    What a step has left half done is gone, and TensorFlow cannot take a worker back.
    """
    reason = str(error).strip().splitlines()[-1]
    if received:
        print(f"stopped by {received.name}; a worker was lost before all was saved")
        sys.exit(128 + received)
    print(
        f"a worker was lost ({reason}): starting again from the newest checkpoint, as "
        "soon as all are back",
        file=sys.stderr,
        flush=True,
    )
    time.sleep(1)  # no haste where it is lost again and again
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _define_flags():
    cli.define_config()
    flags.DEFINE_string(
        "workdir", None, "Folder of the run; by default runs/<name of the config file>."
    )
    flags.DEFINE_bool("dry_run", False, "Print the resolved configuration and leave.")


if __name__ == "__main__":
    _define_flags()
    cli.run(main)
