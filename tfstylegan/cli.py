"""How every command starts and how it fails: with one sentence and an exit code."""

import contextlib
import os
import pathlib
import re
import runpy
import sys
import tempfile
import traceback

from absl import app, flags, logging
from ml_collections import config_flags

from tfstylegan import config as config_lib
from tfstylegan import saved_config

OPS = ("auto", "compiled", "reference")  # TFSTYLEGAN_OPS, see ops/library.py

flags.disclaim_key_flags()  # --helpshort lists what is defined here with the command


@contextlib.contextmanager
def one_sentence(kinds=(ValueError, OSError)):
    """Turns bad input, errors of these kinds, into one line on stderr and exit code 1.

    Only for the part of a command that reads what the user gave; `--verbosity=1` shows
    the traceback as well.
    """
    try:
        yield
    except kinds as error:
        logging.debug("where it was raised", exc_info=True)
        sys.exit(f"error: {_first_line(error)}")


def define_config():
    """The flag `--config=FILE` and its overrides `--config.section.field=value`."""
    with one_sentence():  # the flag itself would fail on them with a traceback
        for argument in sys.argv[1:]:
            _check_override(argument)
    holder = config_flags.DEFINE_config_file(
        "config",
        str(config_lib.preset_path("digits32")),
        "Configuration file, or the folder of a run or model for its configuration; "
        "any field can be changed with --config.section.field=value.",
    )
    flags.declare_key_flag("config")
    return holder


def define_model():
    """The flag `--model=M`."""
    flags.DEFINE_string(
        "model", None, "A run's workdir or a model directory.", required=True
    )


def define_outdir(what):
    """The flag `--outdir=D`; `what` says what is written there."""
    flags.DEFINE_string("outdir", None, what, required=True)


def run(main):
    """Runs an absl command; wrong flags end it with one sentence and exit code 1."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # read once, by TensorFlow
    app.run(main, flags_parser=_parse_flags)


def load_config(path):
    """Configuration of `--model`; ValueError that names `path` where there is none."""
    with _naming_model(path):
        return config_lib.load(path)


def load_model(path):
    """Networks of `--model`, with a G_ema.

    Raises ValueError that names `path` where it is no model or a damaged one.
    """
    load_config(path)
    from tfstylegan.networks import storage  # TensorFlow takes seconds

    with _naming_model(path):
        networks = storage.load_networks(path)
    if networks.G_ema is None:
        raise ValueError(f"the model {path} has no G_ema")
    return networks


def check_outdir(outdir):
    """Raises ValueError where the folder `outdir` cannot be made or written to."""
    existing = next(path for path in (outdir, *outdir.parents) if path.exists())
    if not existing.is_dir():
        raise ValueError(f"outdir must be a folder; {existing} is a file")
    try:  # the mode bits do not tell of read-only file systems, nor to root
        tempfile.TemporaryFile(dir=existing).close()
    except OSError as error:
        raise ValueError(
            f"outdir must be writable; {existing} is not: {error.strerror}"
        ) from error


@contextlib.contextmanager
def _naming_model(path):
    try:
        yield
    # TensorFlow, Keras, HDF5, zip and JSON each have errors of their own for a file
    # that is cut off or overwritten, from IndexError to BadZipFile.
    except Exception as error:
        message = _first_line(error)
        if not message.startswith(str(path)):
            message = f"the model {path} cannot be read: {message}"
        raise ValueError(message) from error


def _parse_flags(arguments):
    with one_sentence():
        ops = os.environ.get("TFSTYLEGAN_OPS", "auto")
        if ops not in OPS:
            raise ValueError(f"TFSTYLEGAN_OPS must be one of {OPS}; got {ops!r}")
        if "config" in flags.FLAGS:
            arguments = _with_config_file(arguments)
        try:
            rest = app.parse_flags_with_usage(arguments)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"the flags cannot be read: {error}") from error
        if len(rest) > 1:
            raise ValueError(f"unexpected argument {rest[1]!r}{_hint(rest[1])}")
        return rest


def _hint(argument):
    if argument.endswith(".py") and "config" in flags.FLAGS:
        return f"; did you mean --config={argument}?"
    if argument.partition("=")[0] in flags.FLAGS:
        return f"; did you mean --{argument}?"
    return ""


def _with_config_file(arguments):
    """`--config FILE` and `--config=FILE` as `--config=PATH` of a file that works."""
    arguments, result = list(arguments), []
    while arguments:
        argument = arguments.pop(0)
        match = re.fullmatch(r"--?config(?:=(.*))?", argument)
        if match and (match[1] is not None or arguments):
            name = arguments.pop(0) if match[1] is None else match[1]
            argument = f"--config={_config_path(name)}"
        result.append(argument)
    return result


def _config_path(name):
    """What `config_flags` reads of a file, a preset's name, or a run's folder.

    A preset is `configs/X.py` of a checkout or an installed package. What follows a
    colon behind .py is given to its get_config. Raises ValueError that names the file;
    ml_collections would show a traceback.
    """
    name, colon, wanted = _split(name)
    path = pathlib.Path(name)
    if name and path.is_dir():
        config_lib.load(path)
        return f"{saved_config.__file__}:{path.resolve()}"
    if not path.is_file() and path.parts in (("configs", path.name), (path.name,)):
        path = config_lib.preset_path(path.stem) or path
    if not path.is_file():
        raise ValueError(f"the configuration file {name!r} does not exist")
    _check_config_file(path, *([wanted] if colon else []))
    return f"{path}:{wanted}" if colon else path


def _split(name):
    """("X.py", ":", "WANTED") of a file with something wanted of it."""
    before, ending, after = name.partition(".py:")
    return (f"{before}.py", ":", after) if ending else (name, "", "")


def _check_config_file(path, *wanted):
    """Raises ValueError where a file gives no configuration, with the line of it."""
    try:
        get_config = runpy.run_path(str(path)).get("get_config")
        config = get_config(*wanted) if callable(get_config) else None
    except Exception as error:  # whatever the file does
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename == str(path)]
        message = _first_line(error)
        if isinstance(error, SyntaxError) and error.filename == str(path):
            lines, message = [error.lineno], error.msg
        where = f"{path}, line {lines[-1]}" if lines else path
        raise ValueError(
            f"the configuration file {where}: {type(error).__name__}: {message}"
        ) from error
    if not callable(get_config):
        raise ValueError(f"the configuration file {path} defines no get_config()")
    if not isinstance(config, config_lib.Config):
        raise ValueError(
            f"get_config() of the configuration file {path} must return a "
            f"tfstylegan.config.Config; got {type(config).__name__}"
        )


def _check_override(argument):
    match = re.match(r"--?(?:no)?config\.([\w.]+)", argument)
    message = match and config_lib.unknown_field(match[1])
    if message:
        raise ValueError(message)


def _first_line(error):
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}"
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
