"""Metrics against the truncation psi: how precision and recall are traded.

    python tools/psi_curve.py --model=M --outdir=D [--metrics=classifier_pr1k3]
        [--psi=0,0.2,0.4,0.6,0.8,1]

Prints a Markdown table, a row for each psi, and writes curves.png, a panel for each
metric, and metrics.jsonl, each number with what it was computed from. With less psi
images are more alike and more typical: precision rises as psi falls, recall falls.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import json
import math

import figures
from absl import flags

from tfstylegan import cli, evaluate, metric_names


def main(argv):
    del argv
    with cli.one_sentence():
        figures.require()
        for name in flags.FLAGS.metrics:
            metric_names.parse(name)
        psis = sorted(map(number, flags.FLAGS.psi))
        outdir = pathlib.Path(flags.FLAGS.outdir)
        cli.check_outdir(outdir)
        subject = evaluate.open_subject(flags.FLAGS.model)
        results = measured(subject, flags.FLAGS.metrics, psis)
    outdir.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(r) + "\n" for rows in results.values() for r in rows)
    (outdir / "metrics.jsonl").write_text(lines)
    draw(outdir / "curves.png", results)
    print(table(results))


def number(text):
    """A psi of the flag; raises ValueError."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"--psi must be finite numbers; got {text!r}")
    return value


def measured(subject, names, psis):
    """{psi: results}; ends the program where a metric cannot be computed."""
    measures, skipped, results = subject.suite(), {}, {}
    for psi in psis:
        results[psi] = list(evaluate.measure(subject, measures, names, psi, skipped))
        for name, reason in skipped.items():
            sys.exit(f"error: {name}: {reason}")
        print(f"psi {psi:g} is measured", file=sys.stderr, flush=True)
    return results


def draw(path, results):
    first, *_ = results.values()
    figure, axes = figures.panels(len(first))
    for i, panel in enumerate(axes):
        lines = {
            value: (
                list(results),
                [rows[i]["values"][value] for rows in results.values()],
            )
            for value in first[i]["values"]
        }
        figures.curves(panel, lines, x="psi", title=first[i]["metric"])
    figures.write(figure, path)


def table(results):
    rows = [
        {name: value for r in rows for name, value in r["values"].items()}
        for rows in results.values()
    ]
    lines = [["psi", *rows[0]], ["---:"] * (1 + len(rows[0]))]
    for psi, values in zip(results, rows):
        lines.append([f"{psi:g}", *(f"{value:.4g}" for value in values.values())])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    cli.define_model()
    cli.define_outdir("Folder of the figure and the numbers.")
    evaluate.define_metrics("classifier_pr1k3")
    flags.DEFINE_list("psi", ["0", "0.2", "0.4", "0.6", "0.8", "1"], "Values of psi.")
    evaluate.define_subject()
    cli.run(main)
