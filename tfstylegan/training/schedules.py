"""Pure functions of the images seen; no TensorFlow."""


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
