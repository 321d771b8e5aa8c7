"""Images of a trained model: `python -m tfstylegan.generate --model=M --outdir=D`.

PNG: one file an image, and grid.png of the first 64; npy: images.npy, float32
[N, H, W, C], unclipped.
"""

import contextlib
import os
import pathlib
import re

import numpy as np
from absl import flags

from tfstylegan import cli

FORMATS = ("png", "npy")
GRID_IMAGES = 64  # in grid.png, which is held in memory
MAX_IMAGES = 10**6


def main(argv):
    del argv
    path, outdir = pathlib.Path(flags.FLAGS.model), pathlib.Path(flags.FLAGS.outdir)
    with cli.one_sentence():
        _check_flags()
        given = flags.FLAGS.seeds
        seeds = parse_seeds("0-7" if given is None else given)
        latents, labels = _array("latents"), _array("labels")
        cli.check_outdir(outdir)
        networks = cli.load_model(path)
        generator = networks.G_ema
        _check_width("latents", latents, generator.mapping.z_dim)
        numbers = seeds if latents is None else range(len(latents))
        labels = _condition(labels, len(numbers), generator.mapping.label_dim)
        outdir.mkdir(parents=True, exist_ok=True)
    from tfstylegan import ops  # TensorFlow takes seconds

    with cli.one_sentence(RuntimeError):
        ops.library.describe()  # TFSTYLEGAN_OPS=compiled where there is no library
    word = "seed" if latents is None else "latent"
    names = [f"{word}{number:04d}" for number in numbers]
    psi, cutoff = networks.config.generator.truncation(
        flags.FLAGS.truncation_psi, flags.FLAGS.truncation_cutoff
    )
    batches = _batches(
        generator,
        numbers,
        latents,
        labels,
        truncation_psi=psi,
        truncation_cutoff=cutoff,
        noise_mode=flags.FLAGS.noise_mode,
        noise_seed=flags.FLAGS.noise_seed,
    )
    with cli.one_sentence(OSError):
        write_images(outdir, names, batches, flags.FLAGS.format, flags.FLAGS.columns)
    print(f"{len(names)} images of {path} in {outdir}", end="")
    capped = "png" in flags.FLAGS.format and len(names) > GRID_IMAGES
    print(f"; grid.png shows the first {GRID_IMAGES}" if capped else "")


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
        if len(seeds) + last - first >= MAX_IMAGES:
            raise ValueError(f"--seeds must be at most {MAX_IMAGES}; got {text!r}")
        seeds.extend(range(first, last + 1))
    return seeds


def render(
    generator,
    z,
    labels,
    numbers,
    *,
    truncation_psi=1.0,
    truncation_cutoff=None,
    noise_mode="const",
    noise_seed=0,
):
    """Images [N, H, W, C] of a batch, as the generator's call gives them.

    With `noise_mode` "random" the noise of an image is a function of `noise_seed` and
    its number alone, wherever it stands and whatever is rendered with it.
    """
    noise = None
    if noise_mode == "random":
        noise = _noise(generator.synthesis.noise_sizes, numbers, noise_seed)
    images = generator(
        z,
        labels,
        truncation_psi=truncation_psi,
        truncation_cutoff=truncation_cutoff,
        noise_mode=noise_mode,
        noise=noise,
    )
    return images.numpy()


def write_images(outdir, names, batches, formats, columns):
    """Writes batches of images [N, H, W, C] as they come, in `formats` png and npy."""
    from tfstylegan import sampling

    names_left, tiles = iter(names), []
    with contextlib.ExitStack() as stack:
        if "npy" in formats:
            append = stack.enter_context(_npy(outdir / "images.npy", len(names)))
        for images in batches:
            if "npy" in formats:
                append(images)
            if "png" in formats:
                for picture in sampling.to_uint8(images):
                    sampling.write_png(outdir / f"{next(names_left)}.png", picture)
                    if len(tiles) < GRID_IMAGES:
                        tiles.append(picture)
    if tiles:
        picture = sampling.grid(np.stack(tiles), min(columns, len(tiles)))
        sampling.write_png(outdir / "grid.png", picture)


def _batches(generator, numbers, latents, labels, **options):
    """Rendered batches, so that memory does not grow with their number."""
    from tfstylegan import sampling

    size = sampling.batch_size(generator)
    for start in range(0, len(numbers), size):
        rows = slice(start, start + size)
        if latents is None:
            z = sampling.latents(numbers[rows], generator.mapping.z_dim)
        else:
            z = latents[rows]
        yield render(
            generator,
            z,
            None if labels is None else labels[rows],
            numbers[rows],
            **options,
        )


def _noise(sizes, numbers, noise_seed):
    """Noise maps [N, h, w, 1] of numbered images."""
    import tensorflow as tf

    from tfstylegan import rng

    keys = [rng.seed(noise_seed, "generate/noise", number) for number in numbers]
    return [
        tf.stack([rng.normal(tf.random.fold_in(key, i), [*size, 1]) for key in keys])
        for i, size in enumerate(sizes)
    ]


@contextlib.contextmanager
def _npy(path, count):
    """append(images) to a float32 .npy file that appears when it is whole."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:

            def append(images):
                if not file.tell():
                    shape = (count, *images.shape[1:])
                    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
                    np.lib.format.write_array_header_1_0(file, header)
                file.write(np.ascontiguousarray(images, "<f4"))

            yield append
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _check_flags():
    if not flags.FLAGS.format or not set(flags.FLAGS.format) <= set(FORMATS):
        raise ValueError(
            f"--format must be png, npy or both; got {','.join(flags.FLAGS.format)!r}"
        )
    psi = flags.FLAGS.truncation_psi
    if psi is not None and not np.isfinite(psi):
        raise ValueError(f"--truncation_psi must be finite; got {psi}")


def _array(flag):
    """The float32 array [N, ...] of the .npy file that a flag names, if it does."""
    path = flags.FLAGS[flag].value
    if path is None:
        return None
    with open(path, "rb") as file:
        try:
            array = np.lib.format.read_array(file, allow_pickle=False)
        except ValueError as error:
            raise ValueError(
                f"--{flag} must be a .npy file of numbers; {path}: {error}"
            ) from error
    if array.dtype.kind not in "biuf" or array.ndim != 2 or not len(array):
        raise ValueError(
            f"--{flag} must be real numbers, [N, width]; {path} holds {array.dtype} "
            f"{list(array.shape)}"
        )
    with np.errstate(over="ignore"):
        array = array.astype(np.float32)
    if not np.isfinite(array).all():
        raise ValueError(f"--{flag} must be finite; {path} holds other values")
    return array


def _check_width(flag, array, width):
    if array is not None and array.shape[1] != width:
        raise ValueError(f"--{flag} must be [N, {width}]; got {list(array.shape)}")


def _condition(labels, count, label_dim):
    """Labels [N, T] of all images, None for an unconditional model."""
    index = flags.FLAGS.class_index
    if not label_dim:
        if labels is not None or index is not None:
            raise ValueError("the model is not class-conditional: it takes no labels")
        return None
    _check_width("labels", labels, label_dim)
    if labels is None:
        if index is None:
            raise ValueError(
                f"the model has {label_dim} classes: give --class_index or --labels"
            )
        if index >= label_dim:
            raise ValueError(f"--class_index must be below {label_dim}; got {index}")
        labels = np.zeros([1, label_dim], np.float32)
        labels[0, index] = 1
    if len(labels) not in (1, count):
        raise ValueError(f"--labels must hold 1 or {count} rows; got {len(labels)}")
    return np.broadcast_to(labels, [count, label_dim])


def _define_flags():
    cli.define_model()
    cli.define_outdir("Folder of the images.")
    flags.DEFINE_string(
        "seeds", None, 'Seeds of z, like "0-7" (the default) or "1,5,10-12".'
    )
    flags.DEFINE_string("latents", None, "z instead of seeds: .npy, [N, Z].")
    flags.DEFINE_string("labels", None, "Labels: .npy, [N, T] or [1, T].")
    flags.DEFINE_integer("class_index", None, "One class for all images.", 0)
    flags.mark_flags_as_mutual_exclusive(["seeds", "latents"])
    flags.mark_flags_as_mutual_exclusive(["labels", "class_index"])
    flags.DEFINE_float(
        "truncation_psi",
        None,
        "Truncation: 1 is none, 0 the mean image; by default the model's own.",
    )
    flags.DEFINE_integer(
        "truncation_cutoff",
        None,
        "Truncate so many of the first layers, -1: all; by default the model's own.",
        -1,
    )
    flags.DEFINE_enum(
        "noise_mode", "const", ["random", "const", "none"], "Noise inputs."
    )
    flags.DEFINE_integer(
        "noise_seed",
        0,
        "Seed of --noise_mode=random; each seed of z, or row of --latents, has noise "
        "of its own.",
        0,
    )
    flags.DEFINE_list(
        "format",
        ["png"],
        f"png, npy or both; grid.png shows the first {GRID_IMAGES} images.",
    )
    flags.DEFINE_integer("columns", 8, "Columns of grid.png.", 1)


if __name__ == "__main__":
    _define_flags()
    cli.run(main)
