"""Shows what a data set made by `create` holds, and how it was made: info D."""

import pathlib

from absl import flags

from tfstylegan.data.tfrecords import records

flags.disclaim_key_flags()
ARGUMENTS = ("D",)


def main(path):
    path = pathlib.Path(path)
    if not records.is_dataset(path):
        raise ValueError(f"{path} is no data set made by create: no {records.MANIFEST}")
    dataset = records.open_collection(path)
    if flags.FLAGS.verify:
        records.verify(path)
    manifest = dataset.manifest
    shards, skipped = manifest["shards"], manifest["skipped"]
    rows = {
        "images": f"{len(dataset)}, {len(skipped)} left out",
        "size": "x".join(map(str, manifest["size"])),
        "channels": f"{manifest['channels']} {manifest['fourth'] or ''}".strip(),
        "labels": _labels(dataset),
        "encoding": manifest["encoding"],
        "resized with": f"{manifest['filter']}, {manifest['fit']}",
        "shards": f"{len(shards)}, {sum(x['bytes'] for x in shards) / 1e6:.1f} MB",
        "order": "as in the source"
        if manifest["shuffle_seed"] is None
        else f"shuffled by seed {manifest['shuffle_seed']}",
        "source": manifest["source"],
        "made by": manifest["tool"],
        "SHA-256": f"{manifest['sha256']}{' (verified)' * flags.FLAGS.verify}",
    }
    for key, value in rows.items():
        print(f"{key:14}{value}")
    if flags.FLAGS.skipped:
        for name, reason in skipped:
            print(f"left out: {name} ({reason})")


def _labels(dataset):
    kind, width = dataset.manifest["labels"].values()
    if kind == "class":
        counts = dataset.labels.sum(axis=0).astype(int)
        return f"{width} classes of {counts.min()} to {counts.max()} images"
    return "none" if kind == "none" else f"{width} numbers an image"


def define_flags():
    flags.DEFINE_bool("verify", False, "Read everything and compare the hashes.")
    flags.DEFINE_bool("skipped", False, "Name the images that were left out.")
