"""Perceptual path length of single images (StyleGAN2, figures 4 and 5).

    python tools/ppl_gallery.py --model=M --outdir=D
        [--metric=classifier_ppl2_wend_1k] [--columns=8]

The length of an image is that of one tiny step from its w towards another one. Images
of low length tend to look better. Writes into outdir:

    lengths.npz     lengths, z, labels and noise keys of all images, and as text what
                    they were computed from
    histogram.png   of the lengths; the lowest and the highest tenth are marked
    lowest.png      images of the lowest tenth, from the least length on, evenly
    highest.png     images of the highest tenth, from the greatest length on

Prints a table and a JSON line. The mean is the metric of that name, without the lowest
and the highest hundredth. Python makes an image again, the noise included:

    stream = image_streams.ImageSource(tfstylegan.load_networks("M").G_ema)
    ws = stream.mapping(z[i : i + 1])  # and labels[i : i + 1] where there are any
    image = stream.synthesis(ws, keys[i])
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import io
import json

import figures
import numpy as np
import pictures
from absl import flags

from tfstylegan import cli, code_flags, evaluate

TENTH = 10  # percent


def main(argv):
    del argv
    with cli.one_sentence():
        figures.require()
        code_flags.check_psi()
        outdir = pathlib.Path(flags.FLAGS.outdir)
        cli.check_outdir(outdir)
        subject = evaluate.open_subject(flags.FLAGS.model)
        ((network, stream),) = subject.networks(flags.FLAGS.truncation_psi).items()
        result, arrays = subject.suite().single_lengths(
            flags.FLAGS.metric, stream, seed=flags.FLAGS.seed
        )
    result = subject.about(network) | result
    lengths, columns = arrays["lengths"], flags.FLAGS.columns
    outdir.mkdir(parents=True, exist_ok=True)
    write_arrays(outdir / "lengths.npz", arrays, result)
    draw(outdir / "histogram.png", lengths, result)
    for name, rows in zip(("lowest", "highest"), tenths(lengths, columns**2)):
        shown = images(stream, arrays, rows)
        pictures.write(outdir / f"{name}.png", shown, min(columns, len(shown)))
    print(table(lengths, result))
    print(json.dumps(result))


def write_arrays(path, arrays, result):
    from tfstylegan import sampling

    content = io.BytesIO()
    np.savez(content, **arrays, circumstances=np.array(json.dumps(result)))
    sampling.write_atomically(path, content.getvalue())


def tenths(lengths, most):
    """At most so many images of the lowest and of the highest tenth, by their number.

    Evenly from the extreme one inwards.
    """
    order = np.argsort(lengths, kind="stable")
    count = max(1, len(order) * TENTH // 100)
    ranks = np.unique(np.linspace(0, count - 1, min(most, count)).astype(int))
    return order[ranks], order[::-1][ranks]


def images(stream, arrays, rows):
    """Images [N, H, W, C] made again of what is kept of them."""
    labels = arrays.get("labels")
    found = []
    for i in rows:
        ws = stream.mapping(
            arrays["z"][i : i + 1], None if labels is None else labels[i : i + 1]
        )
        found.append(stream.synthesis(ws, arrays["keys"][i]))
    return np.concatenate(found)


def draw(path, lengths, result):
    low, high, edge = np.percentile(lengths, [TENTH, 100 - TENTH, 99])
    figure, (axes,) = figures.panels(1)
    bins = np.linspace(lengths.min(), max(edge, lengths.min() + 1e-9), 60)
    axes.hist(lengths, bins=bins, color="0.6")
    for span in ((lengths.min(), low), (high, edge)):
        axes.axvspan(*span, color="tab:orange", alpha=0.3, linewidth=0)
    axes.axvline(result["value"], color="black", linewidth=1)
    axes.set_xlabel("path length of an image, up to the 99th percentile")
    axes.set_ylabel("images")
    axes.set_title(f"{result['metric']}: {result['value']:.4g}")
    figures.write(figure, path)


def table(lengths, result):
    percentiles = (TENTH, 50, 100 - TENTH)
    head = ["metric", "mean", *(f"{p}th percentile" for p in percentiles), "images"]
    cells = [result["metric"], f"{result['value']:.4g}"]
    cells += [f"{value:.4g}" for value in np.percentile(lengths, percentiles)]
    rows = [head, ["---"] + ["---:"] * (len(head) - 1), [*cells, len(lengths)]]
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in rows)


if __name__ == "__main__":
    cli.define_model()
    cli.define_outdir("Folder of the lengths and pictures.")
    flags.DEFINE_string(
        "metric",
        "classifier_ppl2_wend_1k",
        "A path length of path ends in w, by name: ppl2_wend takes the published "
        "network and 50,000 images, discriminator_ppl2_wend_1k the model's own D.",
    )
    flags.DEFINE_integer("columns", 8, "Columns, and at most rows, of galleries.", 1)
    pictures.define_layout()
    flags.DEFINE_float("truncation_psi", 1.0, "Truncation of the images.")
    evaluate.define_subject()
    cli.run(main)
