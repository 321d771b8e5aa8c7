"""Slow NumPy truth about the augmentation, in float64, from the definitions.

Pixels are taken one by one; nothing of the library is used.
"""

import itertools

import numpy as np

# Least asymmetric wavelets of 2 and 6 vanishing moments, low-pass, sum sqrt(2), from
# the table of PyWavelets 1.8; test_augment_wavelets checks what defines them.
SYM2 = np.array([1 - 3**0.5, 3 - 3**0.5, 3 + 3**0.5, 1 + 3**0.5]) / (4 * 2**0.5)


def reflected(image, index):
    """Pixel of [H, W, C] at an index (y, x), at most one image away; beyond it 0."""
    at = []
    for i, length in zip(index, image.shape[:2], strict=True):
        if not -(length - 1) <= i <= 2 * (length - 1):
            return np.zeros(image.shape[2])
        i = abs(i)
        at.append(i if i < length else 2 * (length - 1) - i)
    return image[tuple(at)]


def doubled(image, h):
    """{(o, u): pixel} of the doubled grid; q gives 2 h[k] to sample 2q + k - 5."""
    height, width = image.shape[:2]
    grid = {}
    rows = range(-2 * (height - 1), 2 * (2 * height - 1))
    columns = range(-2 * (width - 1), 2 * (2 * width - 1))
    for o, u in itertools.product(rows, columns):
        total = np.zeros(image.shape[2])
        for q in range((o - 6) // 2, (o + 5) // 2 + 1):
            for r in range((u - 6) // 2, (u + 5) // 2 + 1):
                i, j = o + 5 - 2 * q, u + 5 - 2 * r
                if 0 <= i < len(h) and 0 <= j < len(h):
                    total += 4 * h[i] * h[j] * reflected(image, (q, r))
        grid[o, u] = total
    return grid


def warp(image, inverse, h):
    """Image [H, W, C] seen through the inverse matrix [3, 3], coordinates (x, y, 1)."""
    height, width, channels = image.shape
    grid = doubled(image, h)
    delay = (5.5 - np.sum(np.arange(12) * h)) / 2  # of a doubled sample, in pixels

    def place(o, length):
        return (o + 0.5) / 2 - length / 2 + delay

    def sample(place, length):
        return 2 * (place - delay + length / 2) - 0.5

    result = np.zeros(image.shape)
    taps = range(len(h))
    for i, j, a, b in itertools.product(range(height), range(width), taps, taps):
        seen = inverse @ [place(2 * j + b - 5, width), place(2 * i + a - 5, height), 1]
        x, y = sample(seen[0], width), sample(seen[1], height)
        for o, u in itertools.product(
            *(range(int(np.floor(t)), int(np.floor(t)) + 2) for t in (y, x))
        ):
            weight = (1 - abs(y - o)) * (1 - abs(x - u))
            pixel = grid.get((o, u), np.zeros(channels))
            result[i, j] += h[a] * h[b] * weight * pixel
    return result


def brightness(rgb, amount):
    return rgb + amount


def contrast(rgb, factor):
    return rgb * factor


def luma_flip(rgb, flipped):
    return rgb - 2 * np.mean(rgb) if flipped else rgb


def hue(rgb, angle):
    """Rodrigues' rotation about the axis of greys."""
    axis = np.ones(3) / np.sqrt(3)
    along = axis * (axis @ rgb)
    return along + np.cos(angle) * (rgb - along) + np.sin(angle) * np.cross(axis, rgb)


def saturation(rgb, factor):
    return np.mean(rgb) + factor * (rgb - np.mean(rgb))


def bands():
    """Zero-phase filters [4, 43] of octaves, by their frequency responses."""
    omega = 2 * np.pi * np.arange(256) / 256

    def low(w):
        return abs(np.exp(-1j * np.outer(w, np.arange(4))) @ SYM2) ** 2 / 2

    high = [low(2**i * omega + np.pi) for i in range(3)]
    lows = [low(2**i * omega) for i in range(3)]
    responses = [
        lows[0] * lows[1] * lows[2],
        lows[0] * lows[1] * high[2],
        lows[0] * high[1],
        high[0],
    ]
    taps = np.fft.fftshift(np.fft.ifft(responses, axis=1).real, axes=1)
    return taps[:, 128 - 21 : 128 + 22]


def gains(kept, factors):
    """Gains [4]: each kept one amplified and normalised in turn."""
    power = np.array([10, 1, 1, 1]) / 13
    total = np.ones(4)
    for band in range(4):
        if kept[band]:
            now = np.ones(4)
            now[band] = factors[band]
            total *= now / np.sqrt(np.sum(power * now**2))
    return total


def amplified(image, gains):
    """Image [H, W, C], rows and columns convolved, reflected as often as it takes."""
    taps = gains @ bands()
    reach = len(taps) // 2
    for axis in (0, 1):
        pads = [(reach, reach) if i == axis else (0, 0) for i in range(3)]
        padded = np.pad(image, pads, mode="reflect")
        image = np.apply_along_axis(np.convolve, axis, padded, taps, "valid")
    return image
