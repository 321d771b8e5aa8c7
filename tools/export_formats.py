"""A generator as a file for other runtimes: TFLite, ONNX or OpenVINO.

    python tools/export_formats.py --model=M --outfile=F.tflite (or F.onnx, F.xml)

The ending chooses the format; .xml is OpenVINO's, whose weights are in F.bin beside it.
ONNX and OpenVINO need `pip install 'tfstylegan[formats]'`. Inputs are z [N, Z],
truncation_psi [1] and, of networks with labels, labels [N, T]; the output is images,
float32 [N, H, W, C], about -1 to 1, with the stored noise.

The file is run by its runtime before it is written; images that differ from the
network's own by more than 1e-4 of their largest value are an error.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from absl import flags

from tfstylegan import cli

TOLERANCE = 1e-4
ENDINGS = (".tflite", ".onnx", ".xml")


def main(argv):
    del argv
    outfile = pathlib.Path(flags.FLAGS.outfile)
    with cli.one_sentence((ValueError, OSError, RuntimeError)):
        check_outfile(outfile)
        networks = cli.load_model(flags.FLAGS.model)
        from tfstylegan import sampling
        from tfstylegan.serving import formats

        kind = formats.FORMATS[outfile.suffix]
        if packages := formats.missing(kind):
            raise ValueError(
                f"outfile: {outfile.suffix} needs the packages of pip install "
                f"'tfstylegan[formats]'; there is no {packages[0]}"
            )
        contents, error = formats.convert(networks, kind)
        if not error <= TOLERANCE:
            raise RuntimeError(
                f"images of {outfile.name} must be the network's within {TOLERANCE:g} "
                f"of their largest value; they differ by {error:.3g}"
            )
        outfile.parent.mkdir(parents=True, exist_ok=True)
        pairs = list(zip(kind.endings, contents, strict=True))
        for ending, content in reversed(pairs):  # the file that is opened last
            sampling.write_atomically(outfile.with_suffix(ending), content)
    for ending, content in pairs:
        size = len(content) / 2**20
        print(f"{outfile.with_suffix(ending)}: {size:.1f} MiB")
    print(f"largest error beside the network: {error:.2g} of the largest value")


def check_outfile(outfile):
    """Raises ValueError where a file of this name cannot be written."""
    if outfile.suffix not in ENDINGS:
        raise ValueError(f"outfile must end in {', '.join(ENDINGS)}; got {outfile}")
    if outfile.is_dir():
        raise ValueError(f"outfile must be a file; {outfile} is a folder")
    cli.check_outdir(outfile.parent)


def _define_flags():
    cli.define_model()
    flags.DEFINE_string("outfile", None, "File to be written.", required=True)


if __name__ == "__main__":
    _define_flags()
    cli.run(main)
