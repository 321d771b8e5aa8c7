"""Freeze-D: the part of D that is nearest to the image does not train.

Source: Mo, Cho and Shin 2020, "Freeze the Discriminator: a Simple Baseline for
Fine-Tuning GANs".
"""


def freeze(d, count):
    """Keeps the first `count` layers of a discriminator as they are.

    From the image on these are from_rgb, then two of each level: the convolution, and
    the one that shrinks, along with what runs beside it (the shortcut, the next
    from_rgb). Call it before the optimizer is built.
    """
    for layers in _from_image(d)[:count]:
        for layer in layers:
            layer.trainable = False


def _from_image(d):
    """Layers in groups of one step each, without those of the base grid."""
    below = d.from_rgb[:-1] if isinstance(d.from_rgb, list) else []
    groups = [[d.from_rgb[-1] if isinstance(d.from_rgb, list) else d.from_rgb]]
    for i in reversed(range(d.doublings)):
        beside = [*getattr(d, "skips", [])[i : i + 1], *below[i : i + 1]]
        groups += [[d.convs[i]], [d.down_convs[i], *beside]]
    return groups
