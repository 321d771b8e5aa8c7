"""Says what is wrong with the images of a source: check S.

Exit code 0 where nothing is, or only warnings; 1 with errors, or --strict and any
warning. --fix writes a data set without what is broken or there twice, upright, in
sRGB, and then ends with 0; the other flags say how, as in create.
"""

import dataclasses
import json
import pathlib
import sys

import dataset_create
from absl import flags

from tfstylegan import cli
from tfstylegan.data import doctor, parallel, similar
from tfstylegan.data.tfrecords import shard_file

flags.disclaim_key_flags()
ARGUMENTS = ("S",)


def main(name):
    fix = flags.FLAGS.fix and pathlib.Path(flags.FLAGS.fix)
    if fix:
        cli.check_outdir(fix)
    recipe = dataset_create.recipe(srgb=True)
    open_source = dataset_create.opener(name)
    source = open_source()
    with parallel.ordered_map(
        doctor.look,
        range(len(source)),
        setup=open_source,
        workers=flags.FLAGS.workers,
        title="looking",
    ) as results:
        facts = list(results)
    report = doctor.diagnose(source, facts, radius=flags.FLAGS.radius)
    print(table(report), end="")
    if flags.FLAGS.json:
        content = dataclasses.asdict(report)
        content["keep"] = [source.names[i] for i in report.keep]
        file = pathlib.Path(flags.FLAGS.json)
        shard_file.write_whole(file, json.dumps(content, indent=1) + "\n")
    if fix:
        dataset_create.write(fix, open_source, recipe=recipe, keep=report.keep)
    elif report.fails(strict=flags.FLAGS.strict):
        sys.exit(1)


def table(report):
    """The findings, one a line, the worst first."""
    lines = [f"{report.source}: {report.images} images"]
    for what in ("sizes", "modes"):
        counts = list(getattr(report, what).items())
        more = f" and {len(counts) - 5} more" if len(counts) > 5 else ""
        listed = ", ".join(f"{key} ({count})" for key, count in counts[:5])
        lines.append(f"{what}: {listed}{more}")
    if report.classes:
        lines.append(f"classes: {len(report.classes)}")
    for found in sorted(report.findings, key=lambda found: found.severity):
        count = str(len(found.images) or "")
        lines.append(f"{found.severity:8}{found.kind:13}{count:>7}  {found.text}")
    if not report.findings:
        lines.append("nothing is wrong")
    return "\n".join(lines) + "\n"


def define_flags():
    flags.DEFINE_string("json", None, "File for a report with every name.")
    flags.DEFINE_string("fix", None, "Folder of a cleaned data set, new or empty.")
    flags.DEFINE_bool("strict", False, "Warnings count as errors.")
    flags.DEFINE_integer(
        "radius",
        similar.RADIUS,
        "Bits of 64 by which perceptual hashes of copies differ at most; -1: do not "
        "look for copies that are not exact.",
        -1,
        16,
    )
    dataset_create.define_writing()
