"""The metrics by name, over a source of real images and a stream of generated ones."""

from tfstylegan.data import pipeline
from tfstylegan.metrics import pixel_frechet

REAL_SEED = 0  # coins of the mirrored real images


def compute(name, source, generate, *, num_images, mirror=False):
    """The metric called `name` (see `config.METRICS`) as a dict fit for JSON.

    Args:
      name: name of the metric.
      source: the real images, a `data.sources.Source`; all of them count.
      generate: n -> uint8 [n, H, W, C].
      num_images: generated images to look at.
      mirror: whether half of the real images are flipped, as in training.

    Returns: {"metric", "value", ...} with what the number was computed from.
    """
    real = pipeline.real_images(source, len(source), seed=REAL_SEED, mirror=mirror)
    if name != "pixel_frechet":
        raise ValueError(f"metric must be pixel_frechet; got {name!r}")
    result = pixel_frechet.pixel_frechet(real, generate, num_images=num_images)
    return {"metric": name, **result}
