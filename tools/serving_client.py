"""Images of a model server, as PNG files: a client of TensorFlow Serving.

    python tools/serving_client.py --server=http://localhost:8501 --model=digits \\
        --seeds=0-99 --truncation_psi=0.7 --outdir=images

An address with http:// or https:// is asked over REST; host:port over gRPC, which needs
`pip install 'tfstylegan[serving]'`. Seeds are those of `generate`. A server that cannot
be reached, is overloaded or too slow is asked again, each time after twice as long.
Exit codes: 1 for bad arguments, 3 where the server refuses the request, 4 where it
cannot be reached, 5 where it is too slow, 6 where it answers something else.
"""

import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import model_servers
import numpy as np
from absl import flags

from tfstylegan import cli, code_flags

SIGNATURE = "generate_png"
PNG = b"\x89PNG\r\n\x1a\n"


def main(argv):
    del argv
    outdir = pathlib.Path(flags.FLAGS.outdir)
    with cli.one_sentence():
        seeds = code_flags.parse_seeds(flags.FLAGS.seeds)
        labels = _labels(flags.FLAGS.labels, len(seeds))
        client = model_servers.client(
            flags.FLAGS.server, flags.FLAGS.model, flags.FLAGS.version_label
        )
        cli.check_outdir(outdir)
        outdir.mkdir(parents=True, exist_ok=True)
    size = flags.FLAGS.batch
    for start in range(0, len(seeds), size):
        rows = slice(start, start + size)
        inputs = inputs_of(seeds[rows], None if labels is None else labels[rows])
        try:
            files = png_files(client, inputs, flags.FLAGS.timeout, flags.FLAGS.retries)
        except model_servers.Failure as failure:
            print(f"error: {flags.FLAGS.server}: {failure}", file=sys.stderr)
            sys.exit(failure.code)
        for seed, file in zip(seeds[rows], files, strict=True):
            partial = outdir / f".seed{seed:04d}.png.partial"
            partial.write_bytes(file)
            os.replace(partial, outdir / f"seed{seed:04d}.png")
    print(f"{len(seeds)} images of {flags.FLAGS.model} in {outdir}")


def inputs_of(seeds, labels):
    """All inputs of a request, a row each image, so that the server can batch them."""
    count = len(seeds)
    inputs = {
        "seed": np.array(seeds, np.int64),
        "z": np.zeros([count, 0], np.float32),
        "truncation_psi": np.full([count], flags.FLAGS.truncation_psi, np.float32),
        "truncation_cutoff": np.full([count], flags.FLAGS.truncation_cutoff, np.int32),
        "noise_seed": np.full([count], flags.FLAGS.noise_seed, np.int64),
    }
    return inputs if labels is None else {**inputs, "labels": labels}


def png_files(client, inputs, timeout, retries):
    """PNG files of a request, asked for once and up to `retries` times again."""
    files = model_servers.patiently(
        lambda: client.predict(SIGNATURE, inputs, timeout), retries
    )
    count = len(inputs["seed"])
    if len(files) != count or not all(
        isinstance(file, bytes) and file.startswith(PNG) for file in files
    ):
        raise model_servers.Failure(
            f"the answer must be {count} PNG files; got {len(files)} values"
        )
    return files


def _labels(path, count):
    """float32 [count, T] of a .npy file with one row or as many."""
    if path is None:
        return None
    labels = np.load(path, allow_pickle=False)
    if labels.ndim != 2 or len(labels) not in (1, count):
        raise ValueError(
            f"--labels must be [{count} or 1, T]; {path} holds {list(labels.shape)}"
        )
    return np.broadcast_to(labels, [count, labels.shape[1]]).astype(np.float32)


def _define_flags():
    flags.DEFINE_string("server", None, "http://host:8501 or host:8500.", required=True)
    flags.DEFINE_string("model", None, "The model's name there.", required=True)
    flags.DEFINE_string("version_label", None, "A version, by its label.")
    cli.define_outdir("Folder of the images.")
    flags.DEFINE_string("seeds", "0-7", 'Seeds of z, like "0-7" or "1,5,10-12".')
    flags.DEFINE_string("labels", None, "Labels: .npy, [N, T] or [1, T].")
    flags.DEFINE_float("truncation_psi", 1.0, "Truncation: 1 is none.")
    flags.DEFINE_integer(
        "truncation_cutoff", -1, "Truncate so many layers; -1: all.", -1
    )
    flags.DEFINE_integer("noise_seed", -1, "Seed of noise; -1: the stored one.", -1)
    flags.DEFINE_integer("batch", 8, "Images a request.", 1)
    flags.DEFINE_float("timeout", 60.0, "Seconds to wait for an answer.", 0.001)
    flags.DEFINE_integer("retries", 4, "Attempts after the first one.", 0)


if __name__ == "__main__":
    _define_flags()
    cli.run(main)
