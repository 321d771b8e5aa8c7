"""Directions in w that change images: found, shown as strips, and applied.

    python tools/directions.py --model=M --outdir=D --method=pca [--count=8]
    python tools/directions.py --model=M --outdir=D --method=sefa --layers=coarse
    python tools/directions.py --model=M --outdir=D --method=svm [--detector=classifier]
    python tools/directions.py --model=M --outdir=D --directions=F.npz
        --edit=pca00:2,pca03:-1.5 [--layers=4-]

pca: principal components of w (GANSpace). sefa: closed-form factorisation of the style
weights of --layers (SeFa). svm: towards attributes that a classifier sees, the normals
of the separability metric's hyperplanes; for each it prints the least strength at which
the classifier sees 85 % of new samples change sides, and how many of other new ones do
at that strength: those that have the attribute lose it, the others get it.

What is found goes to directions.npz. For each code a picture strip_CODE.png has a row a
direction and a column a strength. Strengths are standard deviations of w along the
direction.

--edit adds up moves and writes edited.npz, which other tools take as --latents, and
edited.png: the codes above, what became of them below.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import numpy as np
import pictures
import tqdm
from absl import flags

from tfstylegan import cli, code_flags

SEEDS = "0-3"
STRENGTHS = ("-4", "-2", "0", "2", "4")
DETECTORS = ("classifier", "celebahq", "labels")
SEARCHED = (1, 1.5, 2, 2.5, 3, 3.5, 4, 5, 6, 8, 10, 12)  # strengths of attributes
FLIPPED = 0.85  # part of samples that change sides at the strength that is stated
SEARCH_SEED, TEST_SEED = 6, 7  # theirs


def main(argv):
    del argv
    with cli.one_sentence():
        code_flags.check_psi()
        strengths = pictures.parse_numbers("strengths", flags.FLAGS.strengths)
        edits = parse_edits(flags.FLAGS.edit)
        if (flags.FLAGS.method is None) == (flags.FLAGS.directions is None):
            raise ValueError("give either --method or --directions")
        networks, outdir = pictures.open_model()
        codes = code_flags.codes(networks, seeds=SEEDS)
        from tfstylegan.latents import directions, layers, rendering

        generator, taken = networks.G_ema, None
        if flags.FLAGS.layers is not None:
            taken = layers.parse(flags.FLAGS.layers, generator.mapping.num_ws)
        render = rendering.Renderer(generator)
        if flags.FLAGS.directions is not None:
            found = directions.load(flags.FLAGS.directions, generator)
            if taken is not None:
                found.layers = taken
        else:
            found = find(networks, taken)
            directions.save(outdir / "directions.npz", found)
            print(outdir / "directions.npz")
        moves = [(found.index(name), strength) for name, strength in edits]
    if moves:
        edit(outdir, render, found, codes, moves)
    else:
        strips(outdir, render, found, codes, strengths)


def find(networks, taken):
    """The directions of --method, told as a table."""
    from tfstylegan.latents import finding, statistics

    method, count = flags.FLAGS.method, flags.FLAGS.count
    generator = networks.G_ema
    if method == "svm":
        return find_supervised(networks, taken)
    w = statistics.sample_w(generator, flags.FLAGS.samples)
    if method == "pca":
        found = finding.principal(w, count)
        found.layers, weights = taken, found.about["variance"]
    else:
        taken = range(generator.mapping.num_ws) if taken is None else taken
        found = finding.factorised(generator, taken, w, count)
        weights = found.about["eigenvalues"]
    print(
        "direction   deviation of w   " + ("part" if method == "pca" else "eigenvalue")
    )
    for name, scale, weight in zip(found.names, found.scales, weights, strict=True):
        print(f"{name:<12}{scale:>14.4g}   {weight:.4g}")
    return found


def find_supervised(networks, taken):
    """Directions towards attributes, and the strength at which samples change sides."""
    from tfstylegan import sampling
    from tfstylegan.latents import finding, statistics

    generator, count = networks.G_ema, flags.FLAGS.samples
    w = statistics.sample_w(generator, count)
    layers = generator.mapping.num_ws
    attributes, images = open_attributes(networks), batches(generator)
    if attributes is None:
        given = sampling.cycle_labels(count, generator.mapping.label_dim)  # as w have
        probabilities = np.stack([given, 1 - given]).transpose(2, 1, 0)  # [T, N, 2]
    else:
        seen = []
        for start in tqdm.tqdm(range(0, count, 64), unit=" batches", desc="samples"):
            ws = np.repeat(w[start : start + 64, np.newaxis], layers, axis=1)
            seen.append(attributes(images(ws)))
        probabilities = np.concatenate(seen, axis=1)
    names = [f"attribute{i:02d}" for i in range(len(probabilities))]
    found = finding.supervised(w, probabilities, names)
    found.layers = taken
    if attributes is not None:
        sets = [
            statistics.sample_w(generator, flags.FLAGS.test_samples, seed=seed)
            for seed in (SEARCH_SEED, TEST_SEED)
        ]
        sets = [np.repeat(ws[:, np.newaxis], layers, axis=1) for ws in sets]
        numbers = [names.index(name) for name in found.names]
        tell_flips(images, attributes, numbers, sets, found)
    return found


def tell_flips(images, attributes, numbers, sets, found):
    """Searches strengths on the first set of ws, tests them on the second, tells both.

    `found.about` keeps them.
    """
    from tfstylegan.latents import finding

    print(f"part of {len(sets[0])} samples that change sides")
    row = "{:<12}{:>9}{:>12}{:>12}"
    print(row.format("direction", "strength", "searched on", "others"), flush=True)
    stated, tested = [], []
    for index, name in enumerate(found.names):

        def part(strength, ws=sets[0], index=index):
            def has(pictures):
                probs = attributes(pictures)[numbers[index]]
                return probs[:, 0] > probs[:, 1]

            return finding.flips(images, has, ws, found, index, strength)

        strength, seen = finding.least_strength(part, SEARCHED, FLIPPED)
        stated.append(strength)
        tested.append(part(strength, sets[1]))
        figures = f"{strength:g}", f"{seen:.2f}", f"{tested[-1]:.2f}"
        print(row.format(name, *figures), flush=True)
    found.about |= {"strengths": stated, "flips": tested}


def open_attributes(networks):
    """images -> probabilities [A, N, 2] of --detector; None where labels tell."""
    detector = flags.FLAGS.detector
    if detector == "labels":
        if not networks.G_ema.mapping.label_dim:
            raise ValueError("--detector=labels needs a class-conditional model")
        return None
    from tfstylegan import cache
    from tfstylegan.metrics import detectors

    known = detectors.Detectors(
        None,
        labelled=lambda: pictures.open_source(networks.config, labels=True),
        folder=cache.folder() / "metrics",
        files=flags.FLAGS.detector_dir,
        download=flags.FLAGS.download,
    )
    return known(detector).attributes


def batches(generator):
    """(ws [N, L, D]) -> images with the model's own noise, rendered in batches."""
    import tensorflow as tf

    from tfstylegan import sampling

    size = sampling.batch_size(generator)

    @tf.function(reduce_retracing=True)
    def synthesize(ws):
        return generator.synthesis(ws, noise_mode="const")

    def images(ws):
        starts = range(0, len(ws), size)
        return np.concatenate(
            [synthesize(tf.constant(ws[i : i + size])) for i in starts]
        )

    return images


def strips(outdir, render, found, codes, strengths):
    """A picture a code: a row a direction, a column a strength."""
    for i, name in enumerate(codes.names):
        one = codes[i : i + 1]
        ws = [
            found.moved(one.ws, index, strength)
            for index in range(len(found))
            for strength in strengths
        ]
        images = render(np.concatenate(ws), one.noise)
        heads = [f"{strength:+g}" if strength else "0" for strength in strengths]
        path = outdir / f"strip_{name}.png"
        pictures.write(path, images, len(strengths), heads, found.names)


def edit(outdir, render, found, codes, moves):
    """edited.npz and edited.png of codes after all moves."""
    from tfstylegan.latents import codes as codes_lib

    before, ws = render.codes(codes), codes.ws
    for index, strength in moves:
        ws = found.moved(ws, index, strength)
    codes.ws = ws
    codes.about = codes.about | {"edits": flags.FLAGS.edit}
    codes_lib.save(outdir / "edited.npz", codes)
    print(outdir / "edited.npz")
    images = np.concatenate([before, render.codes(codes)])
    sides = ["before", "after"]
    pictures.write(outdir / "edited.png", images, len(codes), codes.names, sides)


def parse_edits(texts):
    """[(name, strength)] of "NAME:STRENGTH" items."""
    edits = []
    for text in texts:
        name, colon, strength = text.rpartition(":")
        if not colon:
            raise ValueError(f"--edit must be like pca00:2,pca03:-1.5; got {text!r}")
        edits.append((name, *pictures.parse_numbers("edit", [strength])))
    return edits


if __name__ == "__main__":
    pictures.define("Folder of the directions and pictures.")
    pictures.define_layout()
    code_flags.define_codes(seeds=SEEDS)
    code_flags.define_labels()
    code_flags.define_truncation()
    flags.DEFINE_enum("method", None, ["pca", "sefa", "svm"], "How to find directions.")
    flags.DEFINE_string("directions", None, "A file of directions found before.")
    flags.DEFINE_list("edit", [], "Moves instead of strips: NAME:STRENGTH,...")
    flags.DEFINE_string(
        "layers",
        None,
        'Layers that are moved: "coarse", "middle", "fine", or like "0-3,5,8-"; by '
        "default those that the directions are meant for. sefa factorises theirs.",
    )
    flags.DEFINE_list("strengths", list(STRENGTHS), "Columns of the strips.")
    flags.DEFINE_integer("count", 8, "Directions of pca and sefa.", 1)
    flags.DEFINE_integer("samples", 10_000, "Samples of w; svm renders them.", 2)
    flags.DEFINE_integer(
        "test_samples", 200, "New samples that svm's strengths are searched on.", 1
    )
    flags.DEFINE_enum("detector", "classifier", DETECTORS, "What svm's attributes are.")
    pictures.define_data()
    pictures.define_detectors()
    cli.run(main)
