"""Style mixing: images with the styles of one code in some layers, another's in others.

    python tools/style_mixing.py --model=M --outdir=D --row_seeds=0-3 --col_seeds=4-7
        [--layers=coarse] [--layers=4-7] [--truncation_psi=0.7]

For each --layers a picture style_mixing_LAYERS.png: rows keep their styles but for
those of the layers, which the columns give (StyleGAN, figure 3). Noise is the model's
own, or that of a row's saved codes.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import pictures
from absl import flags

from tfstylegan import cli, code_flags

ROWS, COLUMNS = "0-3", "4-7"


def main(argv):
    del argv
    with cli.one_sentence():
        code_flags.check_psi()
        networks, outdir = pictures.open_model()
        rows = code_flags.codes(networks, "row", seeds=ROWS)
        columns = code_flags.codes(networks, "col", seeds=COLUMNS)
        from tfstylegan.latents import layers, mixing, rendering

        count = networks.G_ema.mapping.num_ws
        ranges = [layers.parse(text, count) for text in flags.FLAGS.layers]
    render = rendering.Renderer(networks.G_ema)
    for taken in ranges:
        images = mixing.grid(render, rows, columns, taken)
        path = outdir / f"style_mixing_{layers.describe(taken)}.png"
        heads, sides = (["", *codes.names] for codes in (columns, rows))
        pictures.write(path, images, 1 + len(columns), heads, sides)


if __name__ == "__main__":
    pictures.define("Folder of the pictures.")
    pictures.define_layout()
    code_flags.define_codes("row", seeds=ROWS)
    code_flags.define_codes("col", seeds=COLUMNS)
    code_flags.define_labels()
    code_flags.define_truncation()
    flags.DEFINE_multi_string(
        "layers",
        ["coarse"],
        'Layers that columns give: "coarse", "middle", "fine", "all", "none", or like '
        '"0-3,5,8-"; more than once for more than one picture.',
    )
    cli.run(main)
