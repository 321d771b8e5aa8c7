"""How directions are found: principal components, factorised styles, hyperplanes."""

import numpy as np

from tfstylegan.latents import directions
from tfstylegan.metrics import separability

SOFTNESS = 1e-4  # C of the machines: small for a wide margin


def principal(w, count):
    """The directions in which w [N, D] varies most (GANSpace, Harkonen et al. 2020).

    Eigenvectors of its covariance, the largest first.
    """
    _check_count(count, w.shape[1])
    centred = w.astype(np.float64) - w.mean(axis=0, dtype=np.float64)
    powers, vectors = _eigen(centred.T @ centred / len(w), count)
    return directions.Directions(
        vectors=vectors,
        scales=np.sqrt(powers).astype("f4"),
        names=[f"pca{i:02d}" for i in range(count)],
        about={
            "method": "pca",
            "samples": len(w),
            "variance": (powers / np.square(centred).sum() * len(w)).tolist(),
        },
    )


def factorised(generator, layers, w, count):
    """The directions that change styles most (SeFa, Shen and Zhou 2021).

    Eigenvectors of A^T A, the largest first, with A [sum of channels, D] the matrices
    of the layers' affine maps from w to styles, those of to_rgb left out.

    Args:
      generator: a `Generator`.
      layers: numbers of layers; the directions are meant for them.
      w: samples [N, D], which tell the scale.
      count: of directions.

    Raises ValueError where no convolution of the layers has styles.
    """
    _check_count(count, generator.mapping.w_dim)
    styled = generator.synthesis.styled_layers
    maps = [styled[i].affine for i in layers if i < len(styled)]
    kernels = [a.kernel.numpy() * a.scale for a in maps if a is not None]  # [D, C]
    if not kernels:
        raise ValueError(f"no convolution of the layers {list(layers)} has styles")
    matrix = np.concatenate(kernels, axis=1).astype(np.float64)  # [D, sum of C]
    powers, vectors = _eigen(matrix @ matrix.T, count)
    return directions.Directions(
        vectors=vectors,
        scales=_scales(w, vectors),
        names=[f"sefa{i:02d}" for i in range(count)],
        layers=tuple(layers),
        about={"method": "sefa", "eigenvalues": powers.tolist()},
    )


def supervised(w, probabilities, names, *, keep=0.5):
    """Normals of the hyperplanes that part samples with an attribute from the others.

    Linear support vector machines, as the separability metric has them, but with a wide
    margin and as much weight on the few as on the many: what is wanted here is a
    direction, not the fewest errors.

    Args:
      w: samples [N, D].
      probabilities: [A, N, 2], of having each attribute and of not having it.
      names: of the attributes.
      keep: part of each side on which the machine is trained, in (0, 1]: the samples
        that the classifier is surest of.

    Returns: `directions.Directions` towards the attributes, without those that all
    samples or none have.
    """
    vectors, found, accuracies = [], [], []
    even = (w - w.mean(axis=0)) / w.std()  # C is in units of it
    for name, probs in zip(names, probabilities, strict=True):
        has = probs[:, 0] > probs[:, 1]
        if has.all() or not has.any():
            continue
        sides = [_surest(probs, np.flatnonzero(x), keep) for x in (has, ~has)]
        rows = np.concatenate(sides)
        machine = separability.machine(
            even[rows], has[rows], C=SOFTNESS, class_weight="balanced"
        )
        normal = machine.coef_[0]
        vectors.append(normal / np.linalg.norm(normal))
        found.append(name)
        accuracies.append(float(np.mean(machine.predict(even) == has)))
    if not found:
        raise ValueError("no attribute parts the samples: all or none have each")
    vectors = np.array(vectors, np.float32)
    return directions.Directions(
        vectors=vectors,
        scales=_scales(w, vectors),
        names=found,
        about={"method": "svm", "samples": len(w), "accuracy": accuracies},
    )


def _surest(probs, rows, keep):
    """The `keep` part of rows whose probabilities [N, 2] are most certain."""
    order = np.argsort(-probs[rows].max(axis=1), kind="stable")
    return rows[order[: max(1, round(keep * len(rows)))]]


def flips(render, has, codes, found, index, strength, layers=None):
    """Part of codes whose attribute changes when they are moved towards the other side.

    Args:
      render: ws [N, L, D] -> images [N, H, W, C].
      has: images -> bool [N].
      codes: ws [N, L, D].
      found, index, strength, layers: as of `Directions.moved`; those that have the
        attribute move backwards.
    """
    before = has(render(codes))
    forth, back = (found.moved(codes, index, s, layers) for s in (strength, -strength))
    moved = np.where(before[:, np.newaxis, np.newaxis], back, forth)
    return float(np.mean(has(render(moved)) != before))


def least_strength(part, strengths, wanted):
    """(strength, part of it): the least that flips the wanted part of samples.

    Where none does, the one that flips most.

    Args:
      part: strength -> part in [0, 1], such as `flips` of all else.
      strengths: rising; those after the first that will do are not tried.
      wanted: in [0, 1].
    """
    found = []
    for strength in strengths:
        found.append((part(strength), -strength))
        if found[-1][0] >= wanted:
            break
    most, strength = found[-1] if found[-1][0] >= wanted else max(found)
    return -strength, most


def _eigen(matrix, count):
    """The largest eigenvalues [K] and their vectors [K, D], largest entry positive."""
    powers, vectors = np.linalg.eigh(matrix)  # ascending
    vectors = vectors[:, ::-1][:, :count].T
    largest = np.argmax(np.abs(vectors), axis=1)
    signs = np.sign(vectors[np.arange(count), largest])
    vectors = vectors * signs[:, np.newaxis]
    return np.maximum(powers[::-1][:count], 0), vectors.astype(np.float32)


def _scales(w, vectors):
    """Standard deviations [K] of w [N, D] along vectors [K, D]."""
    return (w.astype(np.float64) @ vectors.T).std(axis=0).astype(np.float32)


def _check_count(count, width):
    if not 1 <= count <= width:
        raise ValueError(f"there can be 1 to {width} directions; got {count}")
