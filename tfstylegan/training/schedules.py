"""Pure functions of the images seen; no TensorFlow."""

import bisect
import math


def lazy_adam(lr, beta1, beta2, interval):
    """Adam's (lr, beta1, beta2) with a regulariser every `interval` steps.

    With c = interval / (interval + 1): lr c, beta1^c, beta2^c (StyleGAN2, appendix B).
    An interval of 0 means no lazy regularisation.
    """
    if not interval:
        return lr, beta1, beta2
    c = interval / (interval + 1)
    return lr * c, beta1**c, beta2**c


def ema_decay(cur_nimg, batch_size, halflife_kimg, rampup=0.0):
    """Decay of the moving average of G over one step of `batch_size` images.

    0.5 ^ (batch_size / half-life), the half-life at most `rampup` times the images seen
    (rampup 0 switches that off).
    """
    halflife = halflife_kimg * 1000
    if rampup:
        halflife = min(halflife, cur_nimg * rampup)
    return 0.5 ** (batch_size / max(halflife, 1e-8))


def lod(cur_nimg, initial_lod, train_kimg, fade_kimg):
    """Level of detail: how often the trained resolution fits into the full one, log2.

    Each resolution is trained for `train_kimg`; then the lod falls by 1 in `fade_kimg`
    while the next one fades in (ProGAN, section 2). It ends at 0, the full one.
    """
    train, fade = _images(train_kimg), _images(fade_kimg)
    phase, past = divmod(cur_nimg, train + fade)
    faded = (past - train) / fade if past > train else 0
    return max(0.0, initial_lod - phase - faded)


def resolution(full_resolution, lod):
    """Height of the images that are trained at a lod, or that fade in there."""
    return full_resolution >> math.floor(lod)


def resolution_starts(initial_lod, train_kimg, fade_kimg):
    """Images seen when each resolution starts: the first at 0, others as they fade in.

    Entry k is of the lods in (initial_lod - k - 1, initial_lod - k].
    """
    train, fade = _images(train_kimg), _images(fade_kimg)
    return [0] + [k * train + (k - 1) * fade for k in range(1, initial_lod + 1)]


def tick(cur_nimg, starts, lengths):
    """Number, from 1, and end of the tick that the next image belongs to.

    Tick lengths, in images, change where resolutions start; a tick ends there too.

    Args:
      cur_nimg: images seen.
      starts: images seen at the start of each resolution, as of `resolution_starts`.
      lengths: tick length of each.
    """
    now = bisect.bisect_right(starts, cur_nimg) - 1
    before = sum(
        -(-(end - start) // length)  # rounded up
        for start, end, length in zip(
            starts[:now], starts[1 : now + 1], lengths, strict=False
        )
    )
    done = (cur_nimg - starts[now]) // lengths[now]
    end = starts[now] + (done + 1) * lengths[now]
    if now + 1 < len(starts):
        end = min(end, starts[now + 1])
    return before + done + 1, end


class Due:
    """Whether what happens every so many ticks is due after these.

    Args:
      first: number of the tick that is over.
      last: of the last one that is, with those that were shorter than a batch.
    """

    def __init__(self, first, last):
        self.first, self.last = first, last

    def __call__(self, ticks):
        return self.last // ticks > (self.first - 1) // ticks


def _images(kimg):
    return round(kimg * 1000)
