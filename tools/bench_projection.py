"""Speed of projection beside that of its networks alone, on this machine.

    python tools/bench_projection.py --config=configs/stylegan2_f.py \\
        --config.data.resolution=256 --distance=pixels --distance=discriminator

Networks of that configuration, untrained, and targets of noise. A step is all that
`tools/project.py` does in one; in turn with it run forward and backward pass of the
synthesis network, and of the distance's where it is one, back to w and the noise maps,
and nothing else: the floor. Figures are medians over the pairs.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import bench_inference
import numpy as np
import pictures
import projections
from absl import flags

from tfstylegan import cli

ROW = "{:<16}{:>8}{:>12}{:>16}{:>14}"


def main(argv):
    del argv
    with cli.one_sentence():
        config = _CONFIG.value.validate()
        batches = bench_inference.parse_batches(_BATCHES.value)
    from tfstylegan import ops, rng
    from tfstylegan.networks import build, storage
    from tfstylegan.training import allocator

    allocator.keep_freed_memory()
    generator = build.build_generator(config)
    networks = storage.Networks(
        G=None, D=build.build_discriminator(config), G_ema=generator, config=config
    )
    name = pathlib.Path(flags.FLAGS["config"].config_filename).stem
    height, width = config.data.image_size
    print(f"config {name}, {width}x{height}, ops: {ops.library.describe()}")
    print(ROW.format("distance", "targets", "steps/s", "networks alone", "of it"))
    for distance in _DISTANCES.value:
        with cli.one_sentence():
            see = projections.perceptual(networks, distance)
        for batch in batches:
            shape = [batch, height, width, config.data.channels]
            targets = rng.uniform(rng.seed(0, "targets"), shape, -1).numpy()
            step, alone, part = projections.speeds(
                projector(generator, see, targets), _PAIRS.value
            )
            row = f"{step:.3f}", f"{alone:.3f}", f"{part:.2f}"
            print(ROW.format(distance, batch, *row), flush=True)


def projector(generator, see, targets):
    """A `projection.Projector` of targets [T, H, W, C] that starts at w = 0."""
    from tfstylegan.latents import projection

    return projection.Projector(
        generator,
        see,
        targets,
        np.zeros([len(targets), generator.mapping.w_dim], np.float32),
        spread=1.0,
        numbers=range(len(targets)),
        options=projection.Options(),
    )


if __name__ == "__main__":
    _CONFIG = cli.define_config()
    _BATCHES = flags.DEFINE_list("batches", ["1", "4"], "Targets at once.")
    _DISTANCES = flags.DEFINE_multi_enum(
        "distance",
        ["pixels", "discriminator"],
        projections.DISTANCES[1:],
        "What is made small; repeated.",
    )
    pictures.define_detectors()
    _PAIRS = flags.DEFINE_integer("pairs", 10, "Timed steps of each kind.", 1)
    cli.run(main)
