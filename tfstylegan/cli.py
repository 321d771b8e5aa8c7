"""How every command starts and how it fails: with one sentence and an exit code."""

import contextlib
import os
import pathlib
import re
import sys

from absl import app, logging
from ml_collections import config_flags

from tfstylegan import config as config_lib


@contextlib.contextmanager
def one_sentence():
    """Turns bad input (ValueError, OSError) into one line on stderr and exit code 1.

    Only for the part of a command that reads what the user gave; `--verbosity=1` shows
    the traceback as well.
    """
    try:
        yield
    except (ValueError, OSError) as error:
        logging.debug("where it was raised", exc_info=True)
        sys.exit(f"error: {_first_line(error)}")


def define_config():
    """The flag `--config=FILE` and its overrides `--config.section.field=value`."""
    with one_sentence():  # the flag itself would fail on them with a traceback
        for argument in sys.argv[1:]:
            _check_override(argument)
    return config_flags.DEFINE_config_file(
        "config",
        str(config_lib.preset_path("digits32")),
        "Configuration file; any field can be changed with "
        "--config.section.field=value.",
    )


def run(main):
    """Runs an absl command; wrong flags end it with one sentence and exit code 1."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # read once, by TensorFlow
    app.run(main, flags_parser=_parse_flags)


def _parse_flags(arguments):
    with one_sentence():
        arguments = [_with_preset(argument) for argument in arguments]
        try:
            return app.parse_flags_with_usage(arguments)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"the flags cannot be read: {error}") from error


def _with_preset(argument):
    """`--config=configs/X.py` also finds the presets inside an installed package."""
    match = re.fullmatch(r"--?config=(.+)", argument)
    if not match:
        return argument
    path = pathlib.Path(match[1])
    if path.is_file():
        return argument
    if len(path.parts) <= 2 and path.parts[0] in ("configs", path.name):
        preset = config_lib.preset_path(path.stem)
        if preset is not None:
            return f"--config={preset}"
    raise ValueError(f"the configuration file {path} does not exist")


def _check_override(argument):
    match = re.match(r"--?config\.([\w.]+)", argument)
    message = match and config_lib.unknown_field(match[1])
    if message:
        raise ValueError(message)


def _first_line(error):
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error).strip().splitlines()[0]
