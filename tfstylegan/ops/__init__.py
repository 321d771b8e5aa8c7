"""Functions on tensors: compiled where possible, each with a pure-TensorFlow twin."""

from tfstylegan.ops import library, resample
from tfstylegan.ops.fused_bias_act import fused_bias_act
from tfstylegan.ops.library import implementation
from tfstylegan.ops.styled_epilogue import styled_epilogue
from tfstylegan.ops.upfirdn2d import upfirdn2d

__all__ = [
    "fused_bias_act",
    "implementation",
    "library",
    "resample",
    "styled_epilogue",
    "upfirdn2d",
]
