"""Codes closer to the mean, at it, and beyond: truncation (StyleGAN, figure 8).

    python tools/truncation_sweep.py --model=M --outdir=D --seeds=91,388
        [--psis=1,0.7,0.5,0,-0.5,-1] [--truncation_cutoff=8]

truncation_sweep.png has a row a code and a column a psi.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import numpy as np
import pictures
from absl import flags

from tfstylegan import cli, code_flags

SEEDS = "0-3"


def main(argv):
    del argv
    with cli.one_sentence():
        psis = pictures.parse_numbers("psis", flags.FLAGS.psis)
        networks, outdir = pictures.open_model()
        codes = code_flags.codes(networks, seeds=SEEDS, truncated=False)
    from tfstylegan.latents import codes as codes_lib
    from tfstylegan.latents import rendering

    cutoff = flags.FLAGS.truncation_cutoff
    render = rendering.Renderer(networks.G_ema)
    columns = []
    for psi in psis:
        options = {"psi": psi, "cutoff": None if cutoff < 0 else cutoff}
        ws = codes_lib.truncated(networks.G_ema, codes.ws, **options)
        columns.append(render(ws, codes.noise))
    images = np.stack(columns, axis=1).reshape(-1, *columns[0].shape[1:])
    path, heads = outdir / "truncation_sweep.png", [f"psi {psi:g}" for psi in psis]
    pictures.write(path, images, len(psis), heads, codes.names)


if __name__ == "__main__":
    pictures.define("Folder of the picture.")
    pictures.define_layout()
    code_flags.define_codes(seeds=SEEDS)
    code_flags.define_labels()
    flags.DEFINE_list("psis", ["1", "0.7", "0.5", "0", "-0.5", "-1"], "Columns.")
    flags.DEFINE_integer(
        "truncation_cutoff", -1, "Truncate so many of the first layers, -1: all.", -1
    )
    cli.run(main)
