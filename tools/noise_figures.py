"""What noise does to images (StyleGAN, figures 4 and 5).

    python tools/noise_figures.py --model=M --outdir=D --seeds=0-1
        [--realisations=100] [--crop=650,180,906,436]
        [--brightness=4] [--layers=all --layers=none --layers=8- --layers=0-7]

noise_realisations.png, a row a code: the image with the model's own noise; a part of it
under four other realisations; and the standard deviation over all realisations of the
mean over channels, `--brightness` times as bright. The part is `--crop`, or the quarter
of the side where the deviation is largest.

noise_layers.png, a row a code: the image with noise in the given layers alone, a column
for each --layers.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import numpy as np
import pictures
import tqdm
from absl import flags

from tfstylegan import cli, code_flags

SEEDS = "0-1"
SHOWN = 4  # realisations that are shown
LAYERS = ("all", "none", "middle,fine", "coarse")


def main(argv):
    del argv
    with cli.one_sentence():
        code_flags.check_psi()
        networks, outdir = pictures.open_model()
        codes = code_flags.codes(networks, seeds=SEEDS)
        generator = networks.G_ema
        if not generator.synthesis.noise_sizes:
            raise ValueError(f"the model {flags.FLAGS.model} has no noise inputs")
        from tfstylegan.latents import layers

        count = generator.mapping.num_ws
        ranges = [layers.parse(text, count) for text in flags.FLAGS.layers]
        box = parse_crop(flags.FLAGS.crop, generator.synthesis.sizes[-1])
    from tfstylegan.latents import noise, rendering

    render = rendering.Renderer(generator)
    numbers = range(flags.FLAGS.realisations)
    rows = []
    with tqdm.tqdm(total=len(codes) * len(numbers), unit=" images") as bar:
        for i in range(len(codes)):
            rows += realisations(render, codes[i : i + 1], numbers, box, bar)
    path = outdir / "noise_realisations.png"
    shown, brightness = min(SHOWN, len(numbers)), flags.FLAGS.brightness
    heads = [
        "image",
        *(f"noise {i}" for i in range(shown)),
        f"deviation x{brightness:g}",
    ]
    pictures.write(path, np.stack(rows), len(heads), heads, codes.names)
    own = codes.noise or render.fixed_noise
    columns = [render(codes.ws, noise.only(own, taken)) for taken in ranges]
    images = np.stack(columns, axis=1).reshape(-1, *columns[0].shape[1:])
    path, heads = outdir / "noise_layers.png", [layers.describe(x) for x in ranges]
    pictures.write(path, images, len(ranges), heads, codes.names)


def realisations(render, codes, numbers, box, bar):
    """Pictures of a row, uint8 [H, W, C]; prints the mean deviation."""
    from tfstylegan import sampling
    from tfstylegan.latents import noise

    seed, shown = flags.FLAGS.noise_seed, []

    def images():
        for number in numbers:
            maps = noise.realisation(render.generator, number, seed=seed)
            (image,) = render(codes.ws, maps)
            if len(shown) < SHOWN:
                shown.append(image)
            bar.update()
            yield image

    deviation = noise.deviation(images()) * 127.5  # [H, W], in levels of a pixel
    bar.write(f"{codes.names[0]}: deviation {deviation.mean():.3g} of 255 on average")
    own, *others = sampling.to_uint8(np.stack([render.codes(codes)[0], *shown]))
    height, width, channels = own.shape
    if box is None:
        size = max(1, height // 4), max(1, width // 4)
        top, left = noise.liveliest_box(deviation, *size)
        box = left, top, left + size[1], top + size[0]
    bright = np.clip(np.rint(deviation * flags.FLAGS.brightness), 0, 255).astype(
        np.uint8
    )
    bright = np.repeat(bright[..., np.newaxis], channels, axis=2)
    return [own, *(zoomed(x, box, height, width) for x in others), bright]


def zoomed(image, box, height, width):
    """The part of an image in a box, its pixels as large as fit into the size."""
    left, top, right, bottom = box
    part = image[top:bottom, left:right]
    scale = max(1, min(height // part.shape[0], width // part.shape[1]))
    (part,) = pictures.repeated(part[np.newaxis], scale)
    canvas = np.zeros([height, width, image.shape[2]], np.uint8)
    canvas[: part.shape[0], : part.shape[1]] = part[:height, :width]
    return canvas


def parse_crop(texts, size):
    """(left, top, right, bottom) within an image; None where none is given."""
    if not texts:
        return None
    try:
        left, top, right, bottom = box = tuple(map(int, texts))
    except ValueError:
        box = None
    if not box or not (0 <= left < right <= size[1] and 0 <= top < bottom <= size[0]):
        raise ValueError(
            f"--crop must be left,top,right,bottom within {size[1]}x{size[0]} pixels; "
            f"got {','.join(texts)!r}"
        )
    return box


if __name__ == "__main__":
    pictures.define("Folder of the pictures.")
    pictures.define_layout()
    code_flags.define_codes(seeds=SEEDS)
    code_flags.define_labels()
    code_flags.define_truncation()
    flags.DEFINE_integer("realisations", 100, "How many the deviation is of.", 2)
    flags.DEFINE_integer("noise_seed", 0, "Seed of the realisations.", 0)
    flags.DEFINE_float(
        "brightness", 4, "Of the deviation's picture; 4 is the published one.", 0
    )
    flags.DEFINE_list("crop", [], "Part that is shown large: left,top,right,bottom.")
    flags.DEFINE_multi_string(
        "layers",
        list(LAYERS),
        'Layers with noise: "coarse", "middle", "fine", "all", "none", or like '
        '"0-3,5,8-"; a column for each.',
    )
    cli.run(main)
