"""What each network is trained on: the losses and penalties of a `config.LossConfig`.

The whole ladder of both papers is in these choices: WGAN-GP (StyleGAN, row A), logistic
with R1 (its other rows), the same with lazy regularisation (StyleGAN2, from row C).
"""

from tfstylegan import losses

G_LOSSES = {
    "nonsaturating": losses.generator_nonsaturating,
    "saturating": losses.generator_saturating,
    "wasserstein": losses.generator_wasserstein,
}
D_LOSSES = {
    "logistic": losses.discriminator_logistic,
    "wasserstein": losses.discriminator_wasserstein,
    "hinge": losses.discriminator_hinge,
}


def generator_loss(loss, fake_logits):
    """Main loss of G; fake_logits [N, 1] -> [N]."""
    return G_LOSSES[loss.g_loss](fake_logits)


def discriminator_loss(loss, real_logits, fake_logits):
    """Main loss of D, drift penalty included; logits [N, 1] -> [N]."""
    value = D_LOSSES[loss.d_loss](real_logits, fake_logits)
    if loss.gp_drift:
        value += loss.gp_drift * losses.drift_penalty(real_logits)
    return value


def regularises_d(loss):
    """Whether D has a gradient penalty."""
    return bool(loss.r1_gamma or needs_fakes(loss))


def needs_fakes(loss):
    """Whether a gradient penalty of D looks at generated images."""
    return bool(loss.r2_gamma or loss.gp_lambda)


def discriminator_penalties(loss, discriminate, real, fake, factors, scale=1.0):
    """Gradient penalties of D that are switched on.

    Args:
      loss: a `config.LossConfig`.
      discriminate: images [N, H, W, C] -> logits [N, 1].
      real: [N, H, W, C].
      fake: [N, H, W, C]; not looked at unless `needs_fakes`.
      factors: function to uniform numbers [N, 1, 1, 1], for WGAN-GP.
      scale: of gradients while they are computed; see `losses.r1_penalty`.

    Returns:
      {name: (penalty [N], weight)}, and {"real", "fake": logits [N, 1]} as far as they
      came out on the way.
    """
    penalties, logits = {}, {}
    if loss.r1_gamma:
        penalty, logits["real"] = losses.r1_penalty(discriminate, real, scale)
        penalties["reg/r1"] = penalty, loss.r1_gamma / 2
    if loss.r2_gamma:
        penalty, logits["fake"] = losses.r1_penalty(discriminate, fake, scale)
        penalties["reg/r2"] = penalty, loss.r2_gamma / 2
    if loss.gp_lambda:
        penalty = losses.gradient_penalty(
            discriminate, real, fake, factors(), loss.gp_target, scale
        )
        penalties["reg/gradient_penalty"] = penalty, loss.gp_lambda
    return penalties, logits
