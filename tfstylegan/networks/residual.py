"""Gains of a residual level (StyleGAN2, figure 7c): (branch + shortcut) / sqrt(2)."""

import math

# Of the branch and of the shortcut: keeps the variance of the sum of two.
RESIDUAL_GAIN = math.sqrt(0.5)
# Of the branch's last convolution: lrelu's own gain, times the branch's.
LAST_GAIN = math.sqrt(2) * RESIDUAL_GAIN
