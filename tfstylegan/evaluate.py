"""Metrics of a trained model: `python -m tfstylegan.evaluate --model=M`.

Prints a table and one JSON line a metric, which is also appended to M/metrics.jsonl.
"""

import json
import pathlib

from absl import flags

from tfstylegan import cli
from tfstylegan import config as config_lib


def main(argv):
    del argv
    with cli.one_sentence():
        for name in flags.FLAGS.metrics:
            if name not in config_lib.METRICS:
                raise ValueError(
                    f"--metrics must be of {', '.join(config_lib.METRICS)}; got {name}"
                )
        path = pathlib.Path(flags.FLAGS.model)
        networks, source = _open(path)
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
    _show(results)
    with (path / "metrics.jsonl").open("a") as file:
        for result in results:
            print(json.dumps(result))
            file.write(json.dumps(result) + "\n")


def _open(path):
    config = config_lib.load(path)
    from tfstylegan.data import sources

    height, width = config.data.image_size
    source = sources.open_source(
        flags.FLAGS.data or config.data.source,
        height=height,
        width=width,
        channels=config.data.channels,
        skip_corrupt=config.data.skip_corrupt,
    )
    from tfstylegan.networks import storage  # TensorFlow takes seconds

    networks = storage.load_networks(path)
    if networks.G_ema is None:
        raise ValueError(f"the model {path} has no G_ema")
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
            sampling.image_source(generator, flags.FLAGS.seed, labels),
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
    flags.DEFINE_string(
        "model", None, "A run's workdir or a model directory.", required=True
    )
    flags.DEFINE_list(
        "metrics", ["pixel_frechet"], f"Of: {', '.join(config_lib.METRICS)}."
    )
    flags.DEFINE_string(
        "data", None, "Real images; by default those that the model was trained on."
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
