"""Symlets: the orthonormal wavelets that the pipeline filters with (Daubechies 1992).

A low-pass filter h of 2m taps has sum sqrt(2), is orthonormal to its even shifts, and
its high-pass partner (-1)^k h[k] has m vanishing moments.
"""

import numpy as np

SYM2 = np.array(
    [
        -0.12940952255092145,
        0.22414386804185735,
        0.836516303737469,
        0.48296291314469025,
    ]
)
SYM6 = np.array(
    [
        0.015404109327027373,
        0.0034907120842174702,
        -0.11799011114819057,
        -0.048311742585633,
        0.4910559419267466,
        0.787641141030194,
        0.3379294217276218,
        -0.07263752278646252,
        -0.021060292512300564,
        0.04472490177066578,
        0.0017677118642428036,
        -0.007800708325034148,
    ]
)


def octave_bands(low_pass, count=4):
    """Zero-phase filters [count, 2 r + 1] of octaves, lowest first; they sum to 1.

    P(z) = H(z) H(1/z) / 2 and P(-z) split a signal into halves of its spectrum that add
    up to it, P(z^2) and P(-z^2) split the lower half again, and so on: with four,
    [0, pi/8], [pi/8, pi/4], [pi/4, pi/2] and [pi/2, pi].
    """
    low = np.convolve(low_pass, low_pass[::-1]) / 2  # P, centred
    alternating = (-1.0) ** np.abs(np.arange(len(low)) - len(low) // 2)
    bands, below = [], np.ones(1)  # what all splits so far let through
    for octave in range(count - 1):
        step = 2**octave
        bands.append(np.convolve(below, _spread(low * alternating, step)))
        below = np.convolve(below, _spread(low, step))
    bands.append(below)
    longest = max(map(len, bands))
    return np.stack([np.pad(b, (longest - len(b)) // 2) for b in reversed(bands)])


def _spread(taps, step):
    """step - 1 zeros between the taps: z becomes z^step."""
    spread = np.zeros((len(taps) - 1) * step + 1)
    spread[::step] = taps
    return spread
