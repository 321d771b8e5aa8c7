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

from tfstylegan import cache, cli, code_flags, metric_names

IMAGES = 10_000  # generated ones, where neither a flag nor a configuration tells


def main(argv):
    del argv
    with cli.one_sentence():
        if not flags.FLAGS.metrics:
            raise ValueError("--metrics must name one or more; got none")
        if not flags.FLAGS.model:
            raise ValueError("--model must name one or more; got none")
        for name in flags.FLAGS.metrics:
            metric_names.parse(name)
        code_flags.check_psi()
        subjects = [
            open_subject(path, untrained=flags.FLAGS.untrained)
            for path in flags.FLAGS.model
        ]
    from tfstylegan import ops

    with cli.one_sentence(RuntimeError):
        ops.library.describe()  # TFSTYLEGAN_OPS=compiled where there is no library
    skipped, results = {}, []
    psi = flags.FLAGS.truncation_psi
    for subject in subjects:
        with cli.one_sentence():
            names, measures = flags.FLAGS.metrics, subject.suite()
            found = measure(subject, measures, names, psi, skipped)
            results += report(found, subject.path / "metrics.jsonl")
    for name, reason in skipped.items():
        print(f"skipped: {name}: {reason}", file=sys.stderr)
    if not results:
        sys.exit("error: none of the metrics could be computed")
    if len(subjects) > 1:
        print()
        _show(results)


def report(results, file):
    """Prints a table and JSON lines, and appends these to a file if that can be.

    Each line is appended as soon as it is there, and what there is gets printed where
    `results`, an iterable, raises in the end: a metric may take hours. Returns a list.
    """
    shown = []
    try:
        for result in results:
            shown.append(result)
            _append(result, file)
    finally:
        if shown:
            _show(shown)
            print(*map(json.dumps, shown), sep="\n", flush=True)
    return shown


def _append(result, file):
    try:
        with file.open("a") as stream:
            stream.write(json.dumps(result) + "\n")
    except OSError as error:
        print(f"warning: {file} was not written: {error.strerror}", file=sys.stderr)


@dataclasses.dataclass(kw_only=True)
class Subject:
    """What is measured, and by which data."""

    path: pathlib.Path
    networks: Callable  # psi -> {name: one of `image_streams`}
    source: object  # the real images
    labelled: Callable  # () -> the real images with labels
    mirror: bool
    num_images: int
    cur_nimg: int | None = None  # None where a model does not tell
    discriminator: object = None

    def suite(self):
        """The `suite.Suite` of its real images and of the flags' detectors."""
        from tfstylegan.metrics import detectors, progress, reals, suite

        folder, watch = cache.folder() / "metrics", progress.shown
        return suite.Suite(
            reals.Reals(self.source, mirror=self.mirror, folder=folder, watch=watch),
            detectors.Detectors(
                self.source.image_shape,
                labelled=self.labelled,
                folder=folder,
                files=flags.FLAGS.detector_dir,
                download=flags.FLAGS.download,
                discriminator=self.discriminator,
            ),
            watch=watch,
        )

    def about(self, network="trained"):
        """What a line of metrics.jsonl tells of one of its networks."""
        seen = 0 if network == "untrained" else self.cur_nimg
        return {"network": network, "model": str(self.path), "cur_nimg": seen}


def open_subject(path, *, untrained=False):
    """The `Subject` of `--model`, with the other flags of `define_subject`.

    untrained: whether the networks are also measured as they were before training.

    Raises ValueError for what is no model, and for data that do not fit it.
    """
    path = pathlib.Path(path)
    if (path / "saved_model.pb").is_file():
        return _open_saved_model(path, untrained)
    config = cli.load_config(path)
    data = config.data
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
    loaded = cli.load_model(path)
    label_dim = loaded.G_ema.mapping.label_dim
    labels = _labels(source, label_dim)
    generators = {"trained": loaded.G_ema}
    if untrained:
        from tfstylegan.networks import build

        generators["untrained"] = build.build_generator(config, label_dim)
    from tfstylegan import image_streams, spreading

    devices = spreading.Devices(spreading.present())

    def networks(psi):
        _, cutoff = config.generator.truncation(psi)
        options = {"truncation_psi": psi, "truncation_cutoff": cutoff}
        return {
            name: image_streams.ImageSource(g, labels, devices=devices, **options)
            for name, g in generators.items()
        }

    return Subject(
        path=path,
        networks=networks,
        source=source,
        labelled=functools.partial(open_source, labels=True),
        mirror=data.mirror,
        num_images=config.train.metric_images,
        cur_nimg=loaded.cur_nimg,
        discriminator=loaded.D,
    )


def _open_saved_model(path, untrained):
    if not flags.FLAGS.data:
        raise ValueError(f"the SavedModel {path} does not tell its data: give --data")
    if untrained:
        raise ValueError(f"--untrained needs the networks; {path} is a SavedModel")
    from tfstylegan import image_streams, spreading
    from tfstylegan.data import sources

    devices = spreading.Devices(spreading.present())
    stream = image_streams.ServedSource(path, devices=devices)
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
    return Subject(
        path=path,
        networks=lambda psi: {"exported": stream.truncated(psi)},
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


def measure(subject, measures, names, psi, skipped):
    """Yields results of a suite; why one cannot be had goes to `skipped`."""
    from tfstylegan.metrics import detectors

    for network, stream in subject.networks(psi).items():
        for name in names:
            try:
                result = measures.compute(
                    name,
                    stream,
                    num_images=flags.FLAGS.num_images or subject.num_images,
                    seed=flags.FLAGS.seed,
                )
            except detectors.Unavailable as error:
                skipped[name] = error
                continue
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error
            yield subject.about(network) | result


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


def define_subject():
    """Flags of the real images, the detectors and what is drawn, beside `--model`."""
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
    flags.DEFINE_bool("mirror", False, "Mirror real images; for SavedModels only.")
    flags.DEFINE_integer("seed", 0, "Seed of the generated images.", 0)


def define_metrics(default):
    """Flags of what `measure` computes."""
    flags.DEFINE_list("metrics", [default], f"Metrics: {metric_names.EXAMPLES}.")
    flags.DEFINE_integer(
        "num_images", None, "Generated images; by default as in training.", 2
    )


def _define_flags():
    flags.DEFINE_list(
        "model",
        None,
        "Workdirs, model directories or versions of exported SavedModels.",
        required=True,
    )
    define_metrics("pixel_frechet")
    define_subject()
    flags.DEFINE_bool(
        "untrained", False, "Also measure the network as it was before training."
    )
    flags.DEFINE_float(
        "truncation_psi", 1.0, "Metrics are defined without truncation: 1."
    )


if __name__ == "__main__":
    _define_flags()
    cli.run(main)
