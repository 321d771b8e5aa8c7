"""The weights of a model under published names, for other implementations.

    python tools/export_nvidia.py --model=M --outfile=F.npz (or F.safetensors)
        [--layout=torch (or tensorflow)] [--which=G_ema]

--layout=torch: state dicts for `load_state_dict` of stylegan2-ada-pytorch's Generator
and Discriminator, buffers included. --layout=tensorflow: variables of StyleGAN,
StyleGAN2 or StyleGAN2-ADA, whichever has such networks.

One network has its plain names in the file; several have G_ema/, G/ and D/ before them.
Printed, and with .safetensors also in the file's metadata, are the arguments with which
the published code makes such networks.
"""

import importlib.util
import io
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import numpy as np
from absl import flags
from import_nvidia import chosen

from tfstylegan import cli

ENDINGS = (".npz", ".safetensors")
LAYOUTS = ("torch", "tensorflow")


def main(argv):
    del argv
    outfile = pathlib.Path(flags.FLAGS.outfile)
    layout = flags.FLAGS.layout
    with cli.one_sentence():
        which = chosen(flags.FLAGS.which)
        check_outfile(outfile)
        networks = cli.load_model(flags.FLAGS.model)
        from tfstylegan import sampling
        from tfstylegan.interop import nvidia

        for name in which:
            if getattr(networks, name) is None:
                raise ValueError(f"the model {flags.FLAGS.model} has no {name}")
        states = nvidia.export_state(networks, layout, which)
        made_by = {
            name: dict(
                zip(
                    ("function", "version", "arguments"),
                    nvidia.export_arguments(networks, layout, name),
                    strict=True,
                )
            )
            for name in states
        }
        outfile.parent.mkdir(parents=True, exist_ok=True)
        arrays = flat(states)
        sampling.write_atomically(outfile, content(outfile, arrays, layout, made_by))
    total = sum(array.size for array in arrays.values())
    print(f"{len(arrays)} arrays, {total:,} numbers, layout {layout}: {outfile}")
    for name, how in made_by.items():
        print(f"{name}: {json.dumps(how)}")


def check_outfile(outfile):
    """Raises ValueError where a file of this name cannot be written."""
    if outfile.suffix not in ENDINGS:
        raise ValueError(f"outfile must end in {' or '.join(ENDINGS)}; got {outfile}")
    if outfile.is_dir():
        raise ValueError(f"outfile must be a file; {outfile} is a folder")
    cli.check_outdir(outfile.parent)
    if outfile.suffix == ".safetensors" and not importlib.util.find_spec("safetensors"):
        raise ValueError(
            "outfile: .safetensors needs the package safetensors (pip install "
            "safetensors); .npz does not"
        )


def flat(states):
    """{name: array} of one network, or {"G_ema/name": array} of several."""
    if len(states) == 1:
        return next(iter(states.values()))
    return {
        f"{network}/{name}": array
        for network, state in states.items()
        for name, array in state.items()
    }


def content(outfile, arrays, layout, made_by):
    """The bytes of the file."""
    if outfile.suffix == ".npz":
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        return buffer.getvalue()
    from safetensors import numpy as safetensors

    metadata = {name: json.dumps(how) for name, how in made_by.items()}
    return safetensors.save(arrays, {"layout": layout, **metadata})


def _define_flags():
    cli.define_model()
    flags.DEFINE_string("outfile", None, "File to be written.", required=True)
    flags.DEFINE_enum("layout", "torch", LAYOUTS, "Names and layout of the arrays.")
    flags.DEFINE_list("which", ["G_ema"], "Of G_ema, G and D.")


if __name__ == "__main__":
    _define_flags()
    cli.run(main)
