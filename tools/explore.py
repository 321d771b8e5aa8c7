"""A web page over a trained model: sliders instead of commands.

    python tools/explore.py --model=M                     # then http://127.0.0.1:7860
    python tools/explore.py --model=M --directions=D/directions.npz
    python tools/explore.py --model=http://localhost:8501/v1/models/digits
    python tools/explore.py --model=grpc://localhost:8500/digits

M is a run's workdir, a model directory, or one version of an exported SavedModel; an
address is that of TensorFlow Serving. Seeds, psi, mixing, noise, directions,
interpolation, and projection of uploaded images; images and latents can be downloaded.
What an exported model cannot do is left out, with a sentence why. Directions are found
at start (--method) or read from a file that tools/directions.py wrote. Needs
`pip install 'tfstylegan[explore]'`. Ctrl-C ends it.
"""

import logging
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import model_servers
import projections
from absl import flags

from tfstylegan import cli

METHODS = ("pca", "sefa", "none")
MIB = 1 << 20
QUEUE = 64  # requests that wait at most
AT_ONCE = 4  # of one kind
SESSIONS = 256  # whose projected images are remembered, the last ones


def main(argv):
    del argv
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read by the import
    with cli.one_sentence((ValueError, OSError, model_servers.Failure)):
        require_gradio()
        studio = open_studio()
    from explorer import page as page_lib

    page = page_lib.Page(studio).build()
    logging.getLogger("httpx").setLevel(logging.WARNING)  # its requests to itself
    page.queue(default_concurrency_limit=AT_ONCE, max_size=QUEUE)
    with cli.one_sentence((ValueError, OSError)):
        _, address, _ = page.launch(
            server_name=flags.FLAGS.host,
            server_port=flags.FLAGS.port,
            max_file_size=flags.FLAGS.upload_mib * MIB,
            css=page_lib.CSS,
            theme=page_lib.theme(),
            state_session_capacity=SESSIONS,
            share=False,
            ssr_mode=False,
            footer_links=[],
            quiet=True,
            prevent_thread_lock=True,
        )

    print(f"the page of {flags.FLAGS.model} is at {address}", flush=True)
    page.block_thread()


def require_gradio():
    """Raises ValueError where gradio is not installed: before the model is read."""
    try:
        import gradio  # noqa: F401 (only whether it is there)
    except ImportError as error:
        raise ValueError(
            f"the page needs gradio ({error}): pip install 'tfstylegan[explore]'"
        ) from error


def open_studio():
    """The `studio.Studio` of the flags."""
    from explorer import opening, projecting, studio

    model = opening.model(flags.FLAGS.model)
    directions = opening.found_directions(
        model,
        path=flags.FLAGS.directions,
        method=flags.FLAGS.method,
        count=flags.FLAGS.count,
        samples=flags.FLAGS.samples,
    )
    projection = None
    if "projection" not in model.missing:
        projection = projecting.Projection(
            model.generator,
            projections.perceptual(model.networks, flags.FLAGS.distance),
            max_steps=flags.FLAGS.max_steps,
            max_seconds=flags.FLAGS.max_seconds,
        )
    max_bytes = flags.FLAGS.upload_mib * MIB
    return studio.Studio(model, directions, projection, max_bytes=max_bytes)


if __name__ == "__main__":
    flags.DEFINE_string(
        "model",
        None,
        "A workdir, a model directory, a version of a SavedModel, or the address of a "
        "server: http://HOST:8501/v1/models/NAME or grpc://HOST:8500/NAME.",
        required=True,
    )
    flags.DEFINE_string("host", "127.0.0.1", "Address to listen on; 0.0.0.0: all.")
    flags.DEFINE_integer("port", 7860, "Port of the page.", 1, 65535)
    flags.DEFINE_string("directions", None, "A file of directions found before.")
    flags.DEFINE_enum("method", "pca", METHODS, "Else how to find them at start.")
    flags.DEFINE_integer("count", 6, "How many.", 1, 64)
    flags.DEFINE_integer(
        "samples", None, "Samples of w for them; by default what suits the model.", 2
    )
    flags.DEFINE_integer("max_steps", 1000, "Most steps of a projection.", 1)
    flags.DEFINE_float("max_seconds", 600, "Most seconds of a projection.", 1)
    flags.DEFINE_integer("upload_mib", 16, "Largest file of an upload, MiB.", 1, 1024)
    projections.define_distance()
    cli.run(main)
