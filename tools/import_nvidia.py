"""A published checkpoint as a model directory, which every command takes as --model.

    python tools/import_nvidia.py --source=FILE.pkl --outdir=MODEL
        [--which=G_ema,G,D] [--sha256=DIGEST]

Pickles of StyleGAN, StyleGAN2 and StyleGAN2-ADA (TensorFlow) and of
stylegan2-ada-pytorch. The code inside them is never run. A URL is downloaded once, into
the cache folder (TFSTYLEGAN_CACHE, by default ~/.cache/tfstylegan).

Weights keep the licence of who published them: NVIDIA's are for non-commercial use.
"""

import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from absl import flags

from tfstylegan import cli

NAMES = ("G_ema", "G", "D")
COLUMNS = "{:<10}{:<22}{:>12}{:>10}{:>8}{:>14}"


def main(argv):
    del argv
    outdir = pathlib.Path(flags.FLAGS.outdir)
    with cli.one_sentence():
        which = chosen(flags.FLAGS.which)
        check_new(outdir)
        from tfstylegan.interop import fetch

        path = fetch.local_file(flags.FLAGS.source, flags.FLAGS.sha256)
        print(f"reading {path}", flush=True)
        from tfstylegan.interop import nvidia  # TensorFlow takes seconds

        networks, notes = nvidia.import_checkpoint(path, which)
        print(f"writing {outdir}", flush=True)
        save(networks, outdir)
    show(networks, which, notes)
    print(f"\npython -m tfstylegan.generate --model={outdir} --outdir=images")


def chosen(which):
    """The names that --which lists, each once."""
    wrong = [name for name in which if name not in NAMES]
    if wrong or not which:
        raise ValueError(f"--which must be of {','.join(NAMES)}; got {','.join(which)}")
    return [name for name in NAMES if name in which]


def check_new(outdir):
    """Raises ValueError unless `outdir` can be made, or is an empty folder."""
    cli.check_outdir(outdir)
    if outdir.is_dir() and any(outdir.iterdir()):
        raise ValueError(f"outdir must be new or empty; {outdir} is not empty")


def save(networks, outdir):
    """Writes the model directory, whole or not at all."""
    from tfstylegan.networks import storage

    outdir.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=outdir.parent) as partial:
        model = pathlib.Path(partial) / "model"
        storage.save_networks(model, networks)
        if outdir.is_dir():
            outdir.rmdir()
        model.rename(outdir)


def show(networks, which, notes):
    """Prints what was imported: a line a network, then the notes."""
    from tfstylegan.interop import nvidia

    config = networks.config
    size = "x".join(map(str, config.data.image_size))
    header = ("network", "kind", "resolution", "channels", "labels", "parameters")
    print("\n" + COLUMNS.format(*header))
    for name in which:
        network = getattr(networks, name)
        if network is None:
            continue
        part = config.discriminator if name == "D" else config.generator
        labels = network.label_dim if name == "D" else network.mapping.label_dim
        kind = f"{part.block}, {part.architecture}"
        parameters = f"{nvidia.parameters(network):,}"
        row = (name, kind, size, config.data.channels, labels, parameters)
        print(COLUMNS.format(*row))
    psi, cutoff = config.generator.truncation()
    layers = "all layers" if cutoff is None else f"the first {cutoff} layers"
    print(f"truncation: psi {psi:g}, {layers}, unless a command is told otherwise")
    for note in notes:
        print(f"note: {note}")


def _define_flags():
    flags.DEFINE_string(
        "source", None, "The checkpoint: a .pkl file or its URL.", required=True
    )
    cli.define_outdir("Model directory to be made; new or empty.")
    flags.DEFINE_list("which", list(NAMES), "Networks to import.")
    flags.DEFINE_string("sha256", None, "SHA-256 that the file must have.")


if __name__ == "__main__":
    _define_flags()
    cli.run(main)
