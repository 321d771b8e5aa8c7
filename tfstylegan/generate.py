"""Images of a trained model: `python -m tfstylegan.generate --model=M --outdir=D`.

PNG: one file an image and grid.png; npy: images.npy, float32 [N, H, W, C], unclipped.
"""

import pathlib
import re

import numpy as np
from absl import flags

from tfstylegan import cli
from tfstylegan import config as config_lib


def main(argv):
    del argv
    with cli.one_sentence():
        for name in flags.FLAGS.format:
            if name not in ("png", "npy"):
                raise ValueError(f"--format must be png or npy; got {name}")
        if not np.isfinite(flags.FLAGS.truncation_psi):
            raise ValueError(
                f"--truncation_psi must be finite; got {flags.FLAGS.truncation_psi}"
            )
        seeds = parse_seeds(flags.FLAGS.seeds)
        path = pathlib.Path(flags.FLAGS.model)
        config_lib.load(path)
        outdir = pathlib.Path(flags.FLAGS.outdir)
        outdir.mkdir(parents=True, exist_ok=True)
        generator, names, z, labels = _inputs(path, seeds)
    from tfstylegan import rng, sampling

    images = sampling.render(
        generator,
        z,
        labels,
        truncation_psi=flags.FLAGS.truncation_psi,
        truncation_cutoff=flags.FLAGS.truncation_cutoff,
        noise_mode=flags.FLAGS.noise_mode,
        seed=rng.seed(flags.FLAGS.noise_seed, "generate"),
    )
    if "npy" in flags.FLAGS.format:
        np.save(outdir / "images.npy", images)
    if "png" in flags.FLAGS.format:
        pictures = sampling.to_uint8(images)
        for name, picture in zip(names, pictures, strict=True):
            sampling.write_png(outdir / f"{name}.png", picture)
        columns = min(flags.FLAGS.columns, len(pictures))
        sampling.write_png(outdir / "grid.png", sampling.grid(pictures, columns))
    print(f"{len(images)} images of {path} in {outdir}")


def parse_seeds(text):
    """Numbers of a list with ranges: "1,5,10-12" -> [1, 5, 10, 11, 12]."""
    seeds = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part)
        if not match:
            raise ValueError(f'--seeds must be like "0-7" or "1,5,10-12"; got {text!r}')
        first, last = int(match[1]), int(match[2] or match[1])
        if not first <= last < 2**32:
            raise ValueError(f"--seeds must rise and stay below 2^32; got {part!r}")
        seeds.extend(range(first, last + 1))
    return seeds


def _inputs(path, seeds):
    """G_ema, names of the images, z [N, Z] and labels [N, T] or None."""
    from tfstylegan import sampling
    from tfstylegan.networks import storage

    generator = storage.load_networks(path).G_ema
    if generator is None:
        raise ValueError(f"the model {path} has no G_ema")
    z_dim, label_dim = generator.mapping.z_dim, generator.mapping.label_dim
    if flags.FLAGS.latents:
        z = _array("latents", flags.FLAGS.latents, z_dim)
        names = [f"latent{i:04d}" for i in range(len(z))]
    else:
        z = sampling.latents(seeds, z_dim)
        names = [f"seed{seed:04d}" for seed in seeds]
    return generator, names, z, _condition(len(z), label_dim)


def _condition(count, label_dim):
    given = flags.FLAGS.labels or flags.FLAGS.class_index is not None
    if not label_dim:
        if given:
            raise ValueError("the model is not class-conditional: it takes no labels")
        return None
    if flags.FLAGS.labels:
        labels = _array("labels", flags.FLAGS.labels, label_dim)
        if len(labels) not in (1, count):
            raise ValueError(f"--labels must hold 1 or {count} rows; got {len(labels)}")
        return np.broadcast_to(labels, [count, label_dim])
    if flags.FLAGS.class_index is None:
        raise ValueError(
            f"the model has {label_dim} classes: give --class_index or --labels"
        )
    if flags.FLAGS.class_index >= label_dim:
        raise ValueError(
            f"--class_index must be below {label_dim}; got {flags.FLAGS.class_index}"
        )
    return np.eye(label_dim, dtype=np.float32)[[flags.FLAGS.class_index] * count]


def _array(flag, path, width):
    """A float32 [N, width] array from a .npy file."""
    array = np.load(path, allow_pickle=False)
    if array.ndim != 2 or array.shape[1] != width or not len(array):
        raise ValueError(f"--{flag} must be [N, {width}]; got {list(array.shape)}")
    if not np.isfinite(array).all():
        raise ValueError(f"--{flag} must be finite; {path} holds other values")
    return array.astype(np.float32)


def _define_flags():
    flags.DEFINE_string(
        "model", None, "A run's workdir or a model directory.", required=True
    )
    flags.DEFINE_string("outdir", None, "Folder of the images.", required=True)
    flags.DEFINE_string("seeds", "0-7", 'Seeds of z, like "0-7" or "1,5,10-12".')
    flags.DEFINE_string("latents", None, "z instead of seeds: .npy, [N, Z].")
    flags.DEFINE_string("labels", None, "Labels: .npy, [N, T] or [1, T].")
    flags.DEFINE_integer("class_index", None, "One class for all images.", 0)
    flags.DEFINE_float(
        "truncation_psi", 1.0, "Truncation: 1 is none, 0 the mean image."
    )
    flags.DEFINE_integer(
        "truncation_cutoff", None, "Truncate the first layers only; by default all.", 0
    )
    flags.DEFINE_enum(
        "noise_mode", "const", ["random", "const", "none"], "Noise inputs."
    )
    flags.DEFINE_integer("noise_seed", 0, "Seed of --noise_mode=random.", 0)
    flags.DEFINE_list("format", ["png"], "png, npy or both.")
    flags.DEFINE_integer("columns", 8, "Columns of grid.png.", 1)


if __name__ == "__main__":
    _define_flags()
    cli.run(main)
