"""Differentiable image augmentation (Karras et al. 2020, appendix B)."""

from tfstylegan.augment.pipeline import PRESETS, Augment

__all__ = ["PRESETS", "Augment"]
