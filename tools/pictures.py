"""What tools that make pictures share: the model, images read and written."""

import pathlib
import re

import captions
import numpy as np
from absl import flags

from tfstylegan import cli

SIDE = 64  # pixels, of what a person can look at
ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif")

flags.disclaim_key_flags()


def define(what):
    """Flags --model and --outdir; `what` says what is written there."""
    cli.define_model()
    cli.define_outdir(what)


def open_model():
    """(networks, outdir) of the flags, checked before anything is computed.

    Raises ValueError for what is no model or cannot be written to.
    """
    outdir = pathlib.Path(flags.FLAGS.outdir)
    cli.check_outdir(outdir)
    networks = cli.load_model(pathlib.Path(flags.FLAGS.model))
    from tfstylegan import ops  # TensorFlow takes seconds

    with cli.one_sentence(RuntimeError):
        ops.library.describe()  # TFSTYLEGAN_OPS=compiled where there is no library
    outdir.mkdir(parents=True, exist_ok=True)
    return networks, outdir


def define_layout():
    """Flags --scale and --captions, which `write` obeys."""
    define_scale()
    flags.DEFINE_bool("captions", True, "Lines between images, and words around them.")


def define_scale():
    """Flag --scale."""
    flags.DEFINE_integer(
        "scale",
        None,
        f"Side of a pixel in pictures; by default sides are {SIDE} pixels or more.",
        1,
        64,
    )


def define_data():
    """Flag --data."""
    flags.DEFINE_string(
        "data",
        None,
        "Real images, as config.data.source; by default what the model was trained on.",
    )


def define_detectors():
    """Flags --detector_dir and --download."""
    flags.DEFINE_string(
        "detector_dir", None, "Folder of the files of published detectors."
    )
    flags.DEFINE_bool(
        "download", False, "Download those that are neither there nor in the cache."
    )


def open_source(config, *, labels=False):
    """The real images of --data, or those of the model's configuration."""
    from tfstylegan.data import sources

    data = config.data
    height, width = data.image_size
    return sources.open_source(
        flags.FLAGS.data or data.source,
        height=height,
        width=width,
        channels=data.channels,
        labels=labels,
        max_images=0 if flags.FLAGS.data else data.max_images,
        skip_corrupt=data.skip_corrupt,
        cache_bytes=data.cache_mib << 20,
    )


def parse_numbers(flag, texts):
    """Finite numbers of a flag."""
    try:
        numbers = [float(text) for text in texts]
    except ValueError:
        numbers = []
    if not numbers or not np.isfinite(numbers).all():
        raise ValueError(f"--{flag} must be finite numbers; got {','.join(texts)!r}")
    return numbers


def write(path, images, columns, heads=None, sides=None):
    """Writes images [N, H, W, C], floats about [-1, 1] or uint8, as one picture.

    heads, sides: words of the columns and of the rows.
    """
    from tfstylegan import sampling

    if images.dtype != np.uint8:
        images = sampling.to_uint8(images)
    images = enlarged(images)
    if flags.FLAGS.captions:
        picture = captions.captioned(images, columns, heads, sides)
    else:
        picture = sampling.grid(images, columns)
    with cli.one_sentence(OSError):
        sampling.write_png(path, picture)
    print(path, flush=True)


def enlarged(images):
    """Images [N, H, W, C] with pixels as wide and high as --scale says."""
    scale = flags.FLAGS.scale or -(-SIDE // min(images.shape[1:3]))
    return repeated(images, scale)


def repeated(images, scale):
    """Images [N, H, W, C] with pixels that are `scale` pixels wide and high."""
    return images.repeat(scale, axis=1).repeat(scale, axis=2)


def found_files(names):
    """Paths of image files, those of folders by name."""
    paths = []
    for name in names:
        path = pathlib.Path(name)
        if path.is_dir():
            inside = sorted(
                p for p in path.iterdir() if p.suffix.lower() in ENDINGS and p.is_file()
            )
            if not inside:
                raise ValueError(f"the folder {path} holds no images")
            paths += inside
        elif path.is_file():
            paths.append(path)
        else:
            raise ValueError(f"--targets must be files or folders; there is no {path}")
    return paths


def read_images(paths, data):
    """Images float32 [N, H, W, C] in [-1, 1], cropped and resized to the model's."""
    from tfstylegan.data import collection, images, pipeline

    height, width = data.image_size
    shape = {"height": height, "width": width, "channels": data.channels}
    pixels = []
    for path in paths:
        try:
            pixels.append(images.decode(collection.read_file(str(path)), **shape))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    return pipeline.to_float(np.stack(pixels)).numpy()


def unique_names(paths):
    """Names for files: their own without ending, numbered where two are the same."""
    names = []
    for path in paths:
        stem = name = re.sub(r"[^\w.-]", "_", path.stem).lstrip(".-")[:80] or "image"
        number = 1
        while name in names:
            number += 1
            name = f"{stem}-{number}"
        names.append(name)
    return names
