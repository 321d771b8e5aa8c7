"""Tells a model's images from others by how well they can be projected.

    python tools/attribution.py --model=M --outdir=D [--images=50] [--data=digits]
    python tools/attribution.py --model=M --outdir=D --targets=a.png,b.png

The first projects as many generated as real images (StyleGAN2, figures 9 and 10) and
writes histogram.png, roc.png, projections.png with some of both beside what was found
of them, and attribution.json with the area under the ROC curve and a threshold: images
with at most this distance are taken for the model's. The second projects files in the
same way and says on which side of that threshold they are. Flags of the projection are
those of project.py, and are kept with the threshold. Broken off, the same command goes
on. Needs `pip install 'tfstylegan[tools]'`.
"""

import dataclasses
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import charts
import figures
import numpy as np
import pictures
import projections
from absl import flags

from tfstylegan import cli

FIRST_SEED = 100_000  # of the generated images
FILE = "attribution.json"
SHOWN = 8  # of each kind, in projections.png
KEPT = ("space", "noise", "distance", "steps", "candidates", "projection_seed")


def main(argv):
    del argv
    with cli.one_sentence():
        outdir = pathlib.Path(flags.FLAGS.outdir)
        known = None
        if flags.FLAGS.targets:
            known = read_known(outdir / FILE)
            paths = pictures.found_files(flags.FLAGS.targets)
        else:
            figures.require()
        how = projections.options()
        networks, outdir = pictures.open_model()
        runner = projections.Runner(networks, outdir, how)
        if known:
            targets = pictures.read_images(paths, networks.config.data)
            names = pictures.unique_names(paths)
        else:
            targets, names = populations(networks)
    with cli.one_sentence(OSError):
        result = runner.run(targets, names)
    if known:
        judge(outdir, known, result)
    else:
        compare(outdir, result)
        show(outdir / "projections.png", targets, result)
    runner.tell_speed()
    runner.forget()


def populations(networks):
    """(images float32 [2N, H, W, C], names): N generated ones, then N real ones."""
    from tfstylegan import sampling
    from tfstylegan.data import pipeline
    from tfstylegan.latents import codes as codes_lib
    from tfstylegan.latents import rendering

    count, generator = flags.FLAGS.images, networks.G_ema
    source = pictures.open_source(networks.config)
    if len(source) < count:
        raise ValueError(f"--images must be at most {len(source)}; got {count}")
    seeds = range(FIRST_SEED, FIRST_SEED + count)
    labels = sampling.cycle_labels(count, generator.mapping.label_dim)
    codes = codes_lib.of_seeds(generator, seeds, labels)
    fakes = sampling.to_uint8(rendering.Renderer(generator).codes(codes))
    rows = np.linspace(0, len(source) - 1, count).astype(int)  # all over the data
    pixels = np.concatenate([fakes, source.images(rows)])
    names = [f"generated{i:04d}" for i in range(count)]
    names += [f"real{row:06d}" for row in rows]
    return pipeline.to_float(pixels).numpy(), names


def compare(outdir, result):
    """The threshold between both halves of projections, and its pictures."""
    from tfstylegan import sampling
    from tfstylegan.latents import attribution

    generated, real = np.split(result.distances, 2)
    found = attribution.attribute(generated, real)
    told = dataclasses.asdict(found)
    told = {key: told[key] for key in ("auc", "threshold", "accuracy")}
    told |= {"generated": generated.tolist(), "real": real.tolist()}
    about = result.codes.about["projection"]
    told["flags"] = {name: flags.FLAGS[name].value for name in KEPT}
    told["flags"]["distance"] = about["distance"]  # what auto chose
    told["projection"] = about
    with cli.one_sentence(OSError):
        text = json.dumps(told, indent=1).encode()
        sampling.write_atomically(outdir / FILE, text)
        charts.distances(outdir / "histogram.png", generated, real, found.threshold)
        charts.roc(outdir / "roc.png", found.false, found.true, found.auc)
    print(
        f"AUC {found.auc:.4f} of {len(generated)} generated and {len(real)} real "
        f"images; up to a distance of {found.threshold:.6g} an image is taken for the "
        f"model's, which is right for {100 * found.accuracy:.1f} % of both"
    )


def show(path, targets, result):
    """Some generated images above their projections, and real ones above theirs."""
    count = len(targets) // 2
    chosen = np.linspace(0, count - 1, min(SHOWN, count)).astype(int)
    rows = [x[first + chosen] for first in (0, count) for x in (targets, result.images)]
    sides = ["generated", "projected", "real", "projected"]
    pictures.write(path, np.concatenate(rows), len(chosen), sides=sides)


def read_known(path):
    """What the first command found; its flags of the projection are taken over.

    Raises ValueError where it is not there, or where a flag says another thing.
    """
    if not path.is_file():
        raise ValueError(f"{path} is missing: run this once without --targets")
    try:
        known = json.loads(path.read_text())
        kept = known["flags"]
        if set(kept) != set(KEPT) or not isinstance(known["threshold"], float):
            raise ValueError("other flags")
    except (ValueError, LookupError, TypeError) as error:
        raise ValueError(f"{path} is no file of this tool: {error}") from error
    for name, value in kept.items():
        flag = flags.FLAGS[name]
        if flag.present and flag.value != value:
            raise ValueError(
                f"--{name} must be {value}, as in {path}; got {flag.value}"
            )
        flag.value = value
    return known


def judge(outdir, known, result):
    """A line for each target: whose it is, by its distance."""
    from tfstylegan import sampling

    told = []
    for name, distance in zip(result.codes.names, result.distances, strict=True):
        ours = bool(distance <= known["threshold"])
        told.append({"name": name, "distance": float(distance), "generated": ours})
        verdict = "generated by this model" if ours else "not of this model"
        print(f"{name}: {verdict}: distance {distance:.6g}, ", end="")
        print(f"threshold {known['threshold']:.6g}, AUC {known['auc']:.4f}")
    text = json.dumps(told, indent=1).encode()
    with cli.one_sentence(OSError):
        sampling.write_atomically(outdir / "verdicts.json", text)


if __name__ == "__main__":
    pictures.define("Folder of the results; with --targets that of an earlier run.")
    pictures.define_layout()
    flags.DEFINE_list("targets", [], "Image files, or folders of them, to judge.")
    flags.DEFINE_integer("images", 50, "Generated and real images, each.", 2)
    projections.define()
    pictures.define_data()
    cli.run(main)
