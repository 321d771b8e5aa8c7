"""Frechet distance over a fixed random projection of pixels. This is not FID."""

from collections.abc import Callable, Iterable

import numpy as np

from tfstylegan.metrics import features, fid


def pixel_frechet(
    real_batches: Iterable[np.ndarray],
    generate: Callable[[int], np.ndarray],
    *,
    num_images: int,
    batch_size: int = 256,
    dims: int = 64,
) -> dict:
    """Distance of generated from real images that needs no trained network.

    The formula is FID's, the features are not: FID's come from an Inception network,
    these are `features.PixelProjection`s. The number tells whether training goes
    somewhere on a machine without weights; it says little about sharpness or meaning
    and must never be reported, or compared, as FID. Values compare only at the same
    image shape and, as those of FID, at the same numbers of images, since few images
    overestimate the distance.

    `real_batches` yields uint8 [N, H, W, C], all of which count; `generate(n)` makes
    uint8 [n, H, W, C], `num_images` in all, in calls of at most `batch_size`.
    Covariances are unbiased (ddof 1).

    Returns {"value", "num_real", "num_fake", "image_shape", "features"}, fit for JSON.

    Raises ValueError for fewer than 2 real or generated images, and for images of
    another shape or type.
    """
    if num_images < 2:
        raise ValueError(f"num_images must be at least 2, got {num_images!r}.")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size!r}.")
    projection = real = None
    for batch in real_batches:
        if projection is None:
            projection = features.PixelProjection(np.shape(batch)[1:], dims=dims)
            real = features.RunningStatistics(projection.dims)
        real.update(projection(batch))
    if real is None or real.count < 2:
        count = real.count if real else 0
        raise ValueError(f"real_batches must hold at least 2 images, got {count}.")
    fake = features.RunningStatistics(projection.dims)
    while fake.count < num_images:
        wanted = min(batch_size, num_images - fake.count)
        batch = np.asarray(generate(wanted))
        if len(batch) != wanted:
            raise ValueError(
                f"generate({wanted}) must return {wanted} images, got {len(batch)}."
            )
        fake.update(projection(batch))
    value = fid.frechet_distance(
        real.mean, real.covariance(), fake.mean, fake.covariance()
    )
    return {
        "value": value,
        "num_real": real.count,
        "num_fake": fake.count,
        "image_shape": list(projection.image_shape),
        "features": projection.description,
    }
