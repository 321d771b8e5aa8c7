"""The moving average of G, which is what one looks at (ProGAN, section 6.1)."""


def update(strategy, g, g_ema, decay):
    """G_ema <- lerp(G, G_ema, decay); variables that do not train are copied."""
    assign = strategy.extended.update
    pairs = zip(g_ema.trainable_variables, g.trainable_variables, strict=True)
    for average, current in pairs:
        assign(average.value, _lerp, args=(current.value, decay), group=True)
    pairs = zip(g_ema.non_trainable_variables, g.non_trainable_variables, strict=True)
    for average, current in pairs:
        assign(average.value, _copy, args=(current.value,), group=True)


def _lerp(average, current, decay):
    average.assign(current + (average - current) * decay)


def _copy(average, current):
    average.assign(current)
