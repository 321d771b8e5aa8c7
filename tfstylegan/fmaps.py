"""Feature maps of a level (ProGAN, table 2; StyleGAN2's published configurations).

At the ground although networks are built by it: the configuration's checks need the
rule too, and they import neither networks nor TensorFlow.
"""


def at_level(level, *, fmap_base, fmap_min, fmap_max):
    """Feature maps at the base grid doubled `level` times (4x4 is level 0).

    fmap_base / 2^(level + 1), rounded down, within [fmap_min, fmap_max].
    """
    return max(fmap_min, min(fmap_base // 2 ** (level + 1), fmap_max))
