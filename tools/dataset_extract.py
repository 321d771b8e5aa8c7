"""Writes a source as PNG files and dataset.json: extract --source=S --outdir=D.

Images keep their names, their sizes and their pixels; what is a PNG already is copied.
"""

import io
import json
import os
import pathlib
import shutil

import dataset_create
from absl import flags

from tfstylegan import cli
from tfstylegan.data import parallel, recipe
from tfstylegan.data.formats import dataset_json
from tfstylegan.data.tfrecords import record_job

flags.disclaim_key_flags()
ARGUMENTS = ()


def main():
    outdir = pathlib.Path(os.path.abspath(flags.FLAGS.outdir))
    cli.check_outdir(outdir)
    if outdir.exists() and any(outdir.iterdir()):
        raise ValueError(f"outdir must be new or empty; {outdir} is not")
    open_source = dataset_create.opener(flags.FLAGS.source)
    source = open_source()
    names = file_names(source.names)
    partial = outdir.with_name(f".{outdir.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with parallel.ordered_map(
            png,
            range(len(names)),
            setup=open_source,
            workers=flags.FLAGS.workers,
            title="extracting",
        ) as results:
            for name, data in zip(names, results):
                file = partial / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(data)
        if source.labels.shape[1]:
            labels = record_job.Labels(source.labels)
            rows = [labels[i] for i in range(len(names))]
            if labels.kind == "vector":
                rows = [row.tolist() for row in rows]
            content = {"labels": list(zip(names, rows))}
            (partial / dataset_json.NAME).write_text(json.dumps(content))
        os.rename(partial, outdir)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    print(f"{len(names)} images of {source.description} in {outdir}")


def png(source, index):
    """Bytes of a PNG file with the image's pixels, upright."""
    try:
        data = source.read(index)
        image = recipe.decode(data)
    except (ValueError, OSError) as error:
        raise ValueError(f"{source.names[index]} cannot be read: {error}") from error
    if isinstance(data, bytes) and image.format == "PNG":
        return data
    if image.mode not in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
        image = image.convert("RGB")
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def file_names(names):
    """Relative paths that end in .png, unique; ValueError where one leads outside."""
    result, taken = [], set()
    for name in names:
        path = pathlib.PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or not path.name:
            raise ValueError(f"the name {name!r} leads out of the folder")
        new = path.with_suffix(".png").as_posix()
        if new in taken:  # a.jpg beside a.png
            new = f"{name}.png"
        taken.add(new)
        result.append(new)
    return result


def define_flags():
    flags.DEFINE_string("source", None, "What to read.", required=True)
    cli.define_outdir("Folder of the files, new or empty.")
    dataset_create.define_workers()
