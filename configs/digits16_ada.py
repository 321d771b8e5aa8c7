"""StyleGAN2 with adaptive augmentation on 200 handwritten digits, 16x16 grey.

What:     configs/digits32.py at half its resolution, with so few images and so little
          of R1 that D learns them by heart, and the augmentation that keeps it from it
          (Karras et al. 2020).
Command:  python -m tfstylegan.train --config=configs/digits16_ada.py
Cost:     300 kimg: about 14 minutes on one core of a current machine.
Expected: a lower metric/pixel_frechet at the end than with
          --config.augment.mode=none (docs/benchmarks.md has three seeds of both).
"""

from tfstylegan import config as config_lib


def get_config():
    config = config_lib.preset("digits32")
    config.data.resolution = 16
    config.data.max_images = 200
    # That of digits32 is strong enough to keep D from overfitting by itself.
    config.loss.r1_gamma = 0.02
    config.train.total_kimg = 300.0
    config.augment.mode = "adaptive"
    config.augment.preset = "bg"
    # 500 kimg, as published for runs of 25,000, would not let p get anywhere here.
    config.augment.kimg = 20.0
    return config
