"""Makes, shows and checks the data sets that training reads.

    python tools/dataset_tool.py create --source=S --outdir=D [--size=256] ...
    python tools/dataset_tool.py info D
    python tools/dataset_tool.py check S [--json=FILE] [--fix=D]
    python tools/dataset_tool.py extract --source=S --outdir=D
    python tools/dataset_tool.py compare S1 S2

S is anything that --config.data.source takes: a folder or zip of images, TFRecords,
KIND:PATH, digits. The flags of a command: dataset_tool.py COMMAND --helpshort
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import dataset_check
import dataset_compare
import dataset_create
import dataset_extract
import dataset_info
from absl import app

from tfstylegan import cli

COMMANDS = {
    "create": dataset_create,
    "info": dataset_info,
    "check": dataset_check,
    "extract": dataset_extract,
    "compare": dataset_compare,
}


def main():
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in ("-h", "-help", "--help", "--helpshort", "--helpfull"):
        print(__doc__.strip())
        return
    if name not in COMMANDS:
        known = ", ".join(COMMANDS)
        sys.exit(f"error: the command must be one of {known}; got {name!r}")
    command = COMMANDS[name]
    sys.modules["__main__"].__doc__ = command.__doc__  # absl shows it with the flags
    command.define_flags()

    def run(argv):
        with cli.one_sentence():
            return command.main(*argv[1:])

    def parse(arguments):
        rest = app.parse_flags_with_usage(arguments)
        with cli.one_sentence():
            if len(rest) - 1 != len(command.ARGUMENTS):
                wanted = " ".join([name, *command.ARGUMENTS])
                raise ValueError(f"expected {wanted!r}; got {' '.join(rest[1:])!r}")
        return rest

    try:
        app.run(run, [sys.argv[0], *sys.argv[2:]], flags_parser=parse)
    except KeyboardInterrupt:
        sys.exit("error: interrupted; nothing that looks complete is left behind")


if __name__ == "__main__":
    main()
