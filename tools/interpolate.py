"""Videos between latent codes: arcs in z, lines or smooth curves in w.

    python tools/interpolate.py --model=M --outdir=D --seeds=0-7
        [--curve=cubic] [--frames=60] [--fps=30] [--grid=2x1] [--format=mp4,gif]

Writes interpolation.mp4 and .gif. With --grid=WxH the codes are divided among the
cells, each of which goes through its own. --curve=spherical goes along great arcs in z,
linear and cubic go through w. By default the video ends where it began, so that it can
be repeated. Noise is the model's own. Needs `pip install 'tfstylegan[tools]'`.
"""

import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import numpy as np
import pictures
import tqdm
import video
from absl import flags

from tfstylegan import cli, code_flags

SEEDS = "0-7"
CURVES = ("spherical", "linear", "cubic")


def main(argv):
    del argv
    with cli.one_sentence():
        video.check_formats(flags.FLAGS.format)
        columns, rows = parse_grid(flags.FLAGS.grid)
        networks, outdir = pictures.open_model()
        find = in_z if flags.FLAGS.curve == "spherical" else in_w
        paths = find(networks, columns * rows)  # [cells, F, L, D]
    from tfstylegan import sampling
    from tfstylegan.latents import rendering

    render = rendering.Renderer(networks.G_ema)
    files = [outdir / f"interpolation.{ending}" for ending in flags.FLAGS.format]
    with video.writer(files, flags.FLAGS.fps) as append:
        for ws in tqdm.tqdm(np.moveaxis(paths, 1, 0), unit=" frames"):
            images = pictures.enlarged(sampling.to_uint8(render(ws)))
            append(sampling.grid(images, columns))
    for file in files:
        print(file)


def in_z(networks, cells):
    """ws [cells, F, L, D] of great arcs; labels go along lines beside them."""
    from tfstylegan.latents import codes as codes_lib
    from tfstylegan.latents import interpolation

    if code_flags.is_file():
        raise ValueError("--curve=spherical needs z; saved codes have linear and cubic")
    generator = networks.G_ema
    z, labels, _ = code_flags.latents(generator, seeds=SEEDS)
    psi, cutoff = code_flags.truncation(networks)
    options = {"loop": flags.FLAGS.loop}
    paths = []
    for rows in divided(len(z), cells):
        points = interpolation.spherical(z[rows], flags.FLAGS.frames, **options)
        condition = labels
        if labels is not None:
            condition = interpolation.linear(
                labels[rows], flags.FLAGS.frames, **options
            )
        names = map(str, range(len(points)))
        truncation = {"psi": psi, "cutoff": cutoff}
        paths.append(
            codes_lib.of_latents(
                generator, points, condition, names=names, **truncation
            ).ws
        )
    return np.stack(paths)


def in_w(networks, cells):
    """ws [cells, F, L, D] of lines or splines."""
    from tfstylegan.latents import interpolation

    codes = code_flags.codes(networks, seeds=SEEDS)
    return np.stack(
        [
            interpolation.path(
                flags.FLAGS.curve,
                codes.ws[rows],
                flags.FLAGS.frames,
                loop=flags.FLAGS.loop,
            )
            for rows in divided(len(codes), cells)
        ]
    )


def divided(count, cells):
    """Slices of equal numbers of codes, at least two, for each cell."""
    if count % cells or count < 2 * cells:
        raise ValueError(
            f"the codes must be at least 2 for each of {cells} cells of --grid, and as "
            f"many for each; got {count}"
        )
    each = count // cells
    return [slice(i * each, (i + 1) * each) for i in range(cells)]


def parse_grid(text):
    """(columns, rows) of "WxH"."""
    match = re.fullmatch(r"(\d{1,3})x(\d{1,3})", text)
    if not match or not int(match[1]) or not int(match[2]):
        raise ValueError(f"--grid must be like 2x1, columns and rows; got {text!r}")
    return int(match[1]), int(match[2])


if __name__ == "__main__":
    pictures.define("Folder of the videos.")
    code_flags.define_codes(seeds=SEEDS)
    code_flags.define_labels()
    code_flags.define_truncation()
    flags.DEFINE_enum("curve", "cubic", CURVES, "Way between codes.")
    flags.DEFINE_integer("frames", 60, "Frames from one code to the next.", 1)
    flags.DEFINE_integer("fps", 30, "Frames a second; of a GIF at most 50.", 1, 240)
    flags.DEFINE_bool("loop", True, "Whether the video goes back to its start.")
    flags.DEFINE_string("grid", "1x1", "Cells, columns x rows.")
    pictures.define_scale()
    flags.DEFINE_list("format", ["mp4"], "mp4, gif or both.")
    cli.run(main)
