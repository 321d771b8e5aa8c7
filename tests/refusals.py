"""What tests of broken data share: small images, and how a refusal is checked."""

import io
import logging

import numpy as np
import pytest
from PIL import Image

from tfstylegan.data import sources

RNG = np.random.RandomState(0)
SHAPE = {"height": 8, "width": 8, "channels": 3}


def noise(height=8, width=8):
    return RNG.randint(0, 256, [height, width, 3]).astype(np.uint8)


def encoded(pixels, kind="PNG", **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def refused(name, *needles, **options):
    """Opening says all of `needles` in one sentence."""
    with pytest.raises(ValueError) as error:
        sources.open_source(str(name), **(SHAPE | options))
    message = str(error.value)
    assert "\n" not in message
    for needle in needles:
        assert str(needle) in message, message


def skipped(name, caplog, *needles, left):
    """With skip_corrupt `left` images are there and the log has all of `needles`."""
    with caplog.at_level(logging.WARNING, logger="absl"):
        source = sources.open_source(str(name), **SHAPE, skip_corrupt=True)
    assert len(source) == left == len(source.labels)
    for needle in needles:
        assert str(needle) in caplog.text
    return source
