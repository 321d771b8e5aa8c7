"""Metrics of a trained model: `python -m tfstylegan.evaluate --model=M`.

Prints a table and one JSON line a metric, which is also appended to M/metrics.jsonl.
"""

import json
import pathlib
import sys

from absl import flags

from tfstylegan import cli
from tfstylegan import config as config_lib


def main(argv):
    del argv
    path = pathlib.Path(flags.FLAGS.model)
    with cli.one_sentence():
        if not flags.FLAGS.metrics:
            raise ValueError("--metrics must name one or more; got none")
        for name in flags.FLAGS.metrics:
            if name not in config_lib.METRICS:
                raise ValueError(
                    f"--metrics must be of {', '.join(config_lib.METRICS)}; got {name}"
                )
        networks, source = _open(path)
    from tfstylegan import ops

    with cli.one_sentence(RuntimeError):
        ops.library.describe()  # TFSTYLEGAN_OPS=compiled where there is no library
    rows = [("trained", networks.G_ema, networks.cur_nimg)]
    if flags.FLAGS.untrained:
        from tfstylegan.networks import build

        fresh = build.build_generator(networks.config, networks.G_ema.mapping.label_dim)
        rows.append(("untrained", fresh, 0))
    results = [
        {"network": row, "model": str(path), "cur_nimg": cur_nimg, **result}
        for row, generator, cur_nimg in rows
        for result in _measure(generator, networks.config, source)
    ]
    report(results, path / "metrics.jsonl")


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


def _open(path):
    config = cli.load_config(path)
    from tfstylegan.data import sources

    height, width = config.data.image_size
    source = sources.open_source(
        flags.FLAGS.data or config.data.source,
        height=height,
        width=width,
        channels=config.data.channels,
        labels=config.data.labels,
        max_images=0 if flags.FLAGS.data else config.data.max_images,
        skip_corrupt=config.data.skip_corrupt,
        cache_bytes=config.data.cache_mib << 20,
    )
    networks = cli.load_model(path)
    if networks.G_ema.mapping.label_dim not in (0, source.label_dim):
        raise ValueError(
            f"the model's labels have width {networks.G_ema.mapping.label_dim}, "
            f"those of the data {source.label_dim}"
        )
    return networks, source


def _measure(generator, config, source):
    from tfstylegan import sampling
    from tfstylegan.metrics import suite

    labels = source.labels if generator.mapping.label_dim else None
    for name in flags.FLAGS.metrics:
        yield suite.compute(
            name,
            source,
            sampling.ImageSource(generator, labels).stream(flags.FLAGS.seed),
            num_images=flags.FLAGS.num_images or config.train.metric_images,
            mirror=config.data.mirror,
        )


def _show(results):
    untrained = {
        r["metric"]: r["value"] for r in results if r["network"] == "untrained"
    }
    print(f"{'network':<12}{'metric':<18}{'value':>10}{'images':>10}")
    for r in results:
        row = f"{r['network']:<12}{r['metric']:<18}{r['value']:>10.4g}"
        row += f"{r['num_fake']:>10}"
        if untrained.get(r["metric"]) and r["network"] == "trained":
            part = r["value"] / untrained[r["metric"]]
            row += f"   {part:.3f} of the untrained network's"
        print(row)


def _define_flags():
    cli.define_model()
    flags.DEFINE_list(
        "metrics", ["pixel_frechet"], f"Of: {', '.join(config_lib.METRICS)}."
    )
    flags.DEFINE_string(
        "data",
        None,
        "Real images, as config.data.source; by default what it was trained on.",
    )
    flags.DEFINE_integer(
        "num_images", None, "Generated images; by default as in training.", 2
    )
    flags.DEFINE_bool(
        "untrained", False, "Also measure the network as it was before training."
    )
    flags.DEFINE_integer("seed", 0, "Seed of the generated images.", 0)


if __name__ == "__main__":
    _define_flags()
    cli.run(main)
