"""Trains StyleGAN: `python -m tfstylegan.train [--config=FILE] [--workdir=DIR]`.

Without flags it trains configs/digits32.py on the built-in digits. The same command
again resumes. Any field of the configuration can be changed on the command line:
--config.train.batch_size=16 --config.data.source=/path/to/images
"""

import pathlib

from absl import flags, logging

from tfstylegan import cli

_CONFIG = cli.define_config()
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder of the run; by default runs/<name of the config file>."
)
_DRY_RUN = flags.DEFINE_bool(
    "dry_run", False, "Print the resolved configuration and leave."
)


def main(argv):
    del argv
    with cli.one_sentence():
        config = _CONFIG.value.validate()
        if _DRY_RUN.value:
            print(config.to_json())
            return
        name = pathlib.Path(flags.FLAGS["config"].config_filename).stem
        path = pathlib.Path(_WORKDIR.value or f"runs/{name}")
        path, source = _open(path, config)
    logging.set_verbosity(max(logging.get_verbosity(), logging.INFO))
    from tfstylegan.training import loop  # TensorFlow takes seconds: bad input first

    loop.train(config, path, source)
    print(f"samples:     {path}/samples")
    print(f"model:       {path}")
    print(f"TensorBoard: tensorboard --logdir {path}/tensorboard")


def _open(path, config):
    from tfstylegan.data import sources
    from tfstylegan.training import workdir

    workdir.check(path, config)
    height, width = config.data.image_size
    source = sources.open_source(
        config.data.source,
        height=height,
        width=width,
        channels=config.data.channels,
        skip_corrupt=config.data.skip_corrupt,
    )
    if config.data.labels and not source.label_dim:
        raise ValueError(
            f"config.data.labels needs labels, and {config.data.source} has none"
        )
    return workdir.claim(path, config, source), source


if __name__ == "__main__":
    cli.run(main)
