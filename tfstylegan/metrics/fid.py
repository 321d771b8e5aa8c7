"""Frechet distance of Gaussians (Heusel et al. 2017, equation 6)."""

import numpy as np


def frechet_distance(
    mu1: np.ndarray, sigma1: np.ndarray, mu2: np.ndarray, sigma2: np.ndarray
) -> float:
    """Squared Frechet (2-Wasserstein) distance of N(mu1, sigma1) and N(mu2, sigma2).

    |mu1 - mu2|^2 + Tr(sigma1 + sigma2 - 2 (sigma1 sigma2)^(1/2))

    Means [D], covariances [D, D]: symmetric, positive semidefinite, singular ones
    welcome. In the square of the features' unit.

    Raises ValueError where shapes do not fit or a value is not finite.
    """
    mu1, mu2 = np.asarray(mu1, np.float64), np.asarray(mu2, np.float64)
    sigma1, sigma2 = np.asarray(sigma1, np.float64), np.asarray(sigma2, np.float64)
    dims = mu1.size
    for name, value, shape in (
        ("mu1", mu1, (dims,)),
        ("mu2", mu2, (dims,)),
        ("sigma1", sigma1, (dims, dims)),
        ("sigma2", sigma2, (dims, dims)),
    ):
        if value.shape != shape:
            raise ValueError(
                f"{name} must have shape {list(shape)}, got {list(value.shape)}."
            )
        if not np.isfinite(value).all():
            raise ValueError(f"{name} must be finite, got NaN or infinity in it.")
    # With sigma_i = L_i L_i^T, the eigenvalues of sigma1 sigma2 are the squared
    # singular values of L1^T L2, so Tr (sigma1 sigma2)^(1/2) is their sum. Unlike a
    # matrix square root this needs no inverse, stays real, and keeps the digits of
    # small eigenvalues.
    product = _factor(sigma1).T @ _factor(sigma2)
    trace_root = np.linalg.svd(product, compute_uv=False).sum()
    traces = np.trace(sigma1) + np.trace(sigma2) - 2 * trace_root
    distance = np.square(mu1 - mu2).sum() + traces
    return float(max(distance, 0.0))  # rounding can leave -1e-15 for equal Gaussians


def _factor(sigma: np.ndarray) -> np.ndarray:
    """L with sigma = L L^T."""
    values, vectors = np.linalg.eigh(sigma)
    # What rounding leaves of a zero eigenvalue would come back as its square root,
    # 1e-8 instead of 1e-16; a singular covariance has many of them.
    rounding = len(values) * np.finfo(np.float64).eps * values.max(initial=0)
    return vectors * np.sqrt(np.where(values > rounding, values, 0))
