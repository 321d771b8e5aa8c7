"""Metrics of trained models: `python -m tfstylegan.evaluate --model=M[,M2,...]`.

Prints a table and one JSON line a metric, which is also appended to M/metrics.jsonl. A
model is a workdir, a model directory or one version of an exported SavedModel.
"""

import dataclasses
import functools
import json
import pathlib
import sys
from collections.abc import Callable

from absl import flags

from tfstylegan import cache, cli, metric_names

IMAGES = 10_000  # generated ones, where neither a flag nor a configuration tells


def main(argv):
    del argv
    with cli.one_sentence():
        if not flags.FLAGS.metrics:
            raise ValueError("--metrics must name one or more; got none")
        for name in flags.FLAGS.metrics:
            metric_names.parse(name)
        models = [_open(pathlib.Path(path)) for path in flags.FLAGS.model]
    from tfstylegan import ops

    with cli.one_sentence(RuntimeError):
        ops.library.describe()  # TFSTYLEGAN_OPS=compiled where there is no library
    skipped, results = {}, []
    for model in models:
        with cli.one_sentence():
            mine = list(_measure(model, skipped))
        if mine:
            report(mine, model.path / "metrics.jsonl")
        results += mine
    for name, reason in skipped.items():
        print(f"skipped: {name}: {reason}", file=sys.stderr)
    if not results:
        sys.exit("error: none of the metrics could be computed")
    if len(models) > 1:
        print()
        _show(results)


def report(results, file):
    """Prints a table and JSON lines, and appends these to a file if that can be."""
    _show(results)
    lines = "".join(json.dumps(result) + "\n" for result in results)
    print(lines, end="", flush=True)
    try:
        with file.open("a") as stream:
            stream.write(lines)
    except OSError as error:
        print(f"warning: {file} was not written: {error.strerror}", file=sys.stderr)


@dataclasses.dataclass(kw_only=True)
class _Model:
    """What is measured, and by which data."""

    path: pathlib.Path
    networks: dict  # name: `image_streams` of it
    source: object  # the real images
    labelled: Callable  # () -> the real images with labels
    mirror: bool
    num_images: int
    cur_nimg: int | None = None  # None where a model does not tell
    discriminator: object = None


def _open(path):
    if (path / "saved_model.pb").is_file():
        return _open_saved_model(path)
    config = cli.load_config(path)
    data, model = config.data, config.generator
    height, width = data.image_size
    from tfstylegan.data import sources

    open_source = functools.partial(
        sources.open_source,
        flags.FLAGS.data or data.source,
        height=height,
        width=width,
        channels=data.channels,
        max_images=0 if flags.FLAGS.data else data.max_images,
        skip_corrupt=data.skip_corrupt,
        cache_bytes=data.cache_mib << 20,
    )
    source = open_source(labels=data.labels)
    networks = cli.load_model(path)
    labels = _labels(source, networks.G_ema.mapping.label_dim)
    generators = {"trained": networks.G_ema}
    if flags.FLAGS.untrained:
        from tfstylegan.networks import build

        label_dim = networks.G_ema.mapping.label_dim
        generators["untrained"] = build.build_generator(config, label_dim)
    from tfstylegan import image_streams

    psi = flags.FLAGS.truncation_psi
    _, cutoff = model.truncation(psi)
    return _Model(
        path=path,
        networks={
            name: image_streams.ImageSource(
                generator, labels, truncation_psi=psi, truncation_cutoff=cutoff
            )
            for name, generator in generators.items()
        },
        source=source,
        labelled=functools.partial(open_source, labels=True),
        mirror=data.mirror,
        num_images=config.train.metric_images,
        cur_nimg=networks.cur_nimg,
        discriminator=networks.D,
    )


def _open_saved_model(path):
    if not flags.FLAGS.data:
        raise ValueError(f"the SavedModel {path} does not tell its data: give --data")
    if flags.FLAGS.untrained:
        raise ValueError(f"--untrained needs the networks; {path} is a SavedModel")
    from tfstylegan import image_streams
    from tfstylegan.data import sources

    stream = image_streams.ServedSource(path, truncation_psi=flags.FLAGS.truncation_psi)
    height, width, channels = stream.image_shape
    open_source = functools.partial(
        sources.open_source,
        flags.FLAGS.data,
        height=height,
        width=width,
        channels=channels,
    )
    source = open_source(labels=bool(stream.label_dim))
    stream.labels = _labels(source, stream.label_dim)
    return _Model(
        path=path,
        networks={"exported": stream},
        source=source,
        labelled=functools.partial(open_source, labels=True),
        mirror=flags.FLAGS.mirror,
        num_images=IMAGES,
    )


def _labels(source, label_dim):
    """Labels that a generator draws from; None where it takes none."""
    if label_dim not in (0, source.label_dim):
        raise ValueError(
            f"the model's labels have width {label_dim}, "
            f"those of the data {source.label_dim}"
        )
    return source.labels if label_dim else None


def _measure(model, skipped):
    """Results; what cannot be had goes to `skipped` with its reason."""
    from tfstylegan.metrics import detectors, reals, suite

    folder = cache.folder() / "metrics"
    measures = suite.Suite(
        reals.Reals(model.source, mirror=model.mirror, folder=folder),
        detectors.Detectors(
            model.source.image_shape,
            labelled=model.labelled,
            folder=folder,
            files=flags.FLAGS.detector_dir,
            download=flags.FLAGS.download,
            discriminator=model.discriminator,
        ),
    )
    for network, stream in model.networks.items():
        about = {"network": network, "model": str(model.path)}
        about["cur_nimg"] = model.cur_nimg if network == "trained" else 0
        for name in flags.FLAGS.metrics:
            try:
                result = measures.compute(
                    name,
                    stream,
                    num_images=flags.FLAGS.num_images or model.num_images,
                    seed=flags.FLAGS.seed,
                )
            except detectors.Unavailable as error:
                skipped[name] = error
                continue
            yield about | result


def _show(results):
    """One row a number; with its part of the untrained network's, where that is."""
    several = len({r["model"] for r in results}) > 1
    untrained = {}
    for r in results:
        if r["network"] == "untrained":
            untrained |= r["values"]
    print(f"{'network':<12}{'metric':<28}{'value':>12}{'images':>10}")
    for r in results:
        for name, value in r["values"].items():
            images = r.get("num_fake", r.get("num_pairs"))
            row = f"{r['network']:<12}{name:<28}{value:>12.4g}{images:>10}"
            if untrained.get(name) and r["network"] == "trained":
                row += f"   {value / untrained[name]:.3f} of the untrained network's"
            print(row + (f"   {r['model']}" if several else ""))


def _define_flags():
    flags.DEFINE_list(
        "model",
        None,
        "Workdirs, model directories or versions of exported SavedModels.",
        required=True,
    )
    flags.DEFINE_list(
        "metrics", ["pixel_frechet"], f"Metrics: {metric_names.EXAMPLES}."
    )
    flags.DEFINE_string(
        "data",
        None,
        "Real images, as config.data.source; by default what it was trained on.",
    )
    flags.DEFINE_string(
        "detector_dir", None, "Folder of the files of published metrics' networks."
    )
    flags.DEFINE_bool(
        "download", True, "Download those that are neither there nor in the cache."
    )
    flags.DEFINE_integer(
        "num_images", None, "Generated images; by default as in training.", 2
    )
    flags.DEFINE_bool(
        "untrained", False, "Also measure the network as it was before training."
    )
    flags.DEFINE_bool("mirror", False, "Mirror real images; for SavedModels only.")
    flags.DEFINE_float(
        "truncation_psi", 1.0, "Metrics are defined without truncation: 1."
    )
    flags.DEFINE_integer("seed", 0, "Seed of the generated images.", 0)


if __name__ == "__main__":
    _define_flags()
    cli.run(main)
