"""Makes a data set of TFRecord shards: create --source=S --outdir=D.

Broken off, the same command goes on where it was. Nothing is left that looks complete
and is not.
"""

import functools
import pathlib
import shlex

import numpy as np
from absl import flags

from tfstylegan import cli
from tfstylegan.data import collection, finding, parallel
from tfstylegan.data import recipe as recipe_lib
from tfstylegan.data.formats import dataset_json, digits
from tfstylegan.data.tfrecords import record_job, record_writer

flags.disclaim_key_flags()  # --helpshort lists them with the tool
ARGUMENTS = ()


def main():
    outdir = pathlib.Path(flags.FLAGS.outdir)
    cli.check_outdir(outdir)
    open_source = opener(
        flags.FLAGS.source,
        labels=flags.FLAGS.labels == "source",
        skip_corrupt=flags.FLAGS.skip_corrupt,
    )
    write(
        outdir,
        open_source,
        recipe=recipe(srgb=flags.FLAGS.srgb),
        labels=_labels(flags.FLAGS.labels, open_source),
        skip_corrupt=flags.FLAGS.skip_corrupt,
    )


def write(outdir, open_source, **options):
    """Writes as the flags say, and tells what there is."""
    job = record_job.Job(
        open_source=open_source,
        outdir=outdir,
        shuffle_seed=flags.FLAGS.shuffle_seed,
        max_images=flags.FLAGS.max_images,
        shards=flags.FLAGS.shards,
        workers=flags.FLAGS.workers,
        **options,
    )
    manifest = record_writer.write(job)
    height, width = manifest["size"]
    size = sum(shard["bytes"] for shard in manifest["shards"])
    print(
        f"{manifest['images']} images {height}x{width}x{manifest['channels']} in "
        f"{outdir}: {len(manifest['shards'])} shards, {size / 1e6:.1f} MB"
    )
    if manifest["skipped"]:
        print(f"{len(manifest['skipped'])} images left out; info --skipped names them")
    print(f"To train on it: {' '.join(_training_flags(outdir, manifest))}")


def _training_flags(outdir, manifest):
    height, width = manifest["size"]
    yield f"--config.data.source={shlex.quote(str(outdir))}"
    yield f"--config.data.resolution={height}"
    base = recipe_lib.base_grid(height, width)
    if base != (4, 4):
        yield f"--config.data.base_grid={base[0]},{base[1]}"
    if manifest["channels"] != 3:
        yield f"--config.data.channels={manifest['channels']}"
    if manifest["labels"]["width"]:
        yield "--config.data.labels=true"


def opener(name, **options):
    """Picklable function that opens a source, with the options of `finding`."""
    size = flags.FLAGS["size"].value if "size" in flags.FLAGS else None
    if size is None and name.startswith("crops:"):
        raise ValueError(f"{name} needs --size=HxW, the size of the crops")
    height, width = (0, 0) if size is None else recipe_lib.parse_size(size)
    return functools.partial(_open, name, height=height, width=width, **options)


def _open(name, **options):
    if name == "digits":
        return collection.ArrayCollection("scikit-learn", name, *digits.load(8, 8, 1))
    return finding.open_collection(name, **options)


def recipe(*, srgb):
    """What the flags say of each image."""
    size = flags.FLAGS.size
    return recipe_lib.Recipe(
        size=None if size is None else recipe_lib.parse_size(size),
        channels=flags.FLAGS.channels,
        filter=flags.FLAGS.filter,
        fit=flags.FLAGS.fit,
        encoding=flags.FLAGS.encoding,
        srgb=srgb,
    )


def _labels(choice, open_source):
    """float32 [N, T] instead of the source's own labels, None for these."""
    if choice == "source":
        return None
    source = open_source()
    if choice == "none":
        return collection.no_labels(len(source))
    file = pathlib.Path(choice)
    if file.suffix == ".json":
        labels = dataset_json.parse(collection.read_file(file))
        missing = [name for name in source.names if name not in labels]
        if missing:
            raise ValueError(
                f"--labels={file} has no label for {len(missing)} of {len(source)} "
                f"images, the first is {missing[0]}"
            )
        return dataset_json.to_array([labels[name] for name in source.names])
    if file.suffix != ".npy":
        raise ValueError(
            f"--labels must be source, none, a .json or a .npy file; got {choice!r}"
        )
    labels = np.load(file, allow_pickle=False)
    if labels.ndim == 1 and labels.dtype.kind in "iu":
        labels = collection.one_hot(labels)
    if labels.ndim != 2 or labels.dtype.kind not in "biuf":
        raise ValueError(
            f"--labels={file} must hold classes [N] or numbers [N, T]; got "
            f"{labels.dtype} {list(labels.shape)}"
        )
    return labels.astype(np.float32)


def define_flags():
    flags.DEFINE_string("source", None, "What to read.", required=True)
    cli.define_outdir("Folder of the data set, new or empty.")
    define_writing()
    flags.DEFINE_bool("srgb", False, "Convert from embedded colour profiles to sRGB.")
    flags.DEFINE_string(
        "labels",
        "source",
        "Those of the source, none, or a file: dataset.json, or .npy with classes [N] "
        "or numbers [N, T].",
    )
    flags.DEFINE_bool("skip_corrupt", False, "Leave out images that cannot be read.")


def define_writing():
    """Flags of every command that writes a data set."""
    flags.DEFINE_string(
        "size", None, "256, or 192x256 (HxW); by default that of the images."
    )
    flags.DEFINE_enum(
        "channels",
        "3",
        list(recipe_lib.KINDS),
        "Grey, RGB, RGBA, or RGB with a depth as the fourth.",
    )
    flags.DEFINE_enum(
        "filter", "lanczos", list(recipe_lib.FILTERS), "Resizes, antialiased."
    )
    flags.DEFINE_enum(
        "fit",
        "crop",
        list(recipe_lib.FITS),
        "Of another aspect ratio: take the centre, add black bars, or refuse.",
    )
    flags.DEFINE_enum(
        "encoding", "png", list(recipe_lib.ENCODINGS), "Both are lossless."
    )
    flags.DEFINE_integer(
        "shards",
        None,
        f"Number of files; by default one for {record_job.IMAGES_A_SHARD} images.",
        1,
    )
    flags.DEFINE_integer("shuffle_seed", None, "Shuffle the images by this seed.", 0)
    flags.DEFINE_integer("max_images", None, "Take the first N, once shuffled.", 1)
    define_workers()


def define_workers():
    flags.DEFINE_integer(
        "workers", parallel.available_cores(), "Processes; by default the cores.", 1
    )
