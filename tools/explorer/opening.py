"""What --model and the flags of directions name: models and directions, opened."""

import pathlib
import re

import model_servers

from explorer import local, served
from tfstylegan import cli, image_streams
from tfstylegan.latents import directions, finding

REST = re.compile(r"(https?://[^/]+)/v1/models/([^/]+?)(?:/labels/([^/]+?))?/?")
GRPC = re.compile(r"grpc://([^/]+)/([^/]+?)(?:/labels/([^/]+?))?/?")
ADDRESS = "http://HOST:8501/v1/models/NAME or grpc://HOST:8500/NAME"
SAMPLES, FEW_SAMPLES = 10_000, 1000  # of w for directions; few over the network


def model(name):
    """The model that --model names: a folder, a SavedModel or a server's address.

    Raises ValueError that names it where it is none of them, and
    `model_servers.Failure` where a server does not answer.
    """
    if "://" in name:
        match = REST.fullmatch(name) or GRPC.fullmatch(name)
        if match is None:
            raise ValueError(f"an address must be like {ADDRESS}; got {name!r}")
        server, served_name, label = match.groups()
        client = model_servers.client(server, served_name, label)
        return served.remote(client, served_name)
    path = pathlib.Path(name)
    if image_streams.is_saved_model(path):
        return served.saved(path.resolve())
    return local.LocalModel(cli.load_model(path), path.resolve().name)


def found_directions(opened, *, path, method, count, samples):
    """`Directions` of a file, or found at start; None for the method "none".

    Args:
      opened: a model.
      path: a file of directions; None to look for them.
      method: pca, sefa or none.
      count: at most so many of pca and sefa.
      samples: of w; None for what suits the model.
    """
    if path is not None:
        return directions.load(path, opened.generator)
    if method == "none":
        return None
    is_local = isinstance(opened, local.LocalModel)
    if samples is None:
        samples = FEW_SAMPLES if opened.kind == "model server" else SAMPLES
    count = min(count, opened.generator.mapping.w_dim)
    if method == "sefa":
        if not is_local:
            raise ValueError(
                "--method=sefa needs the weights of a model directory; an exported "
                "model has --method=pca and --directions"
            )
        return opened.factorised(count, samples)
    return finding.principal(opened.sample_w(samples), count)
