"""StyleGAN2 with adaptive augmentation on 200 handwritten digits, 32x32 grey.

What:     configs/digits32.py with so few images that D learns them by heart, and the
          augmentation that keeps it from it (Karras et al. 2020).
Command:  python -m tfstylegan.train --config=configs/digits32_ada.py
Cost:     100 kimg: some 15 minutes on 2 cores, half as long again as digits32
          (estimated).
Expected: a lower metric/pixel_frechet at the end than with
          --config.augment.mode=none (three seeds of both make the table; not
          measured yet).
"""

from tfstylegan import config as config_lib


def get_config():
    config = config_lib.preset("digits32")
    config.data.max_images = 200
    config.augment.mode = "adaptive"
    config.augment.preset = "bg"
    # 500 kimg, as published for runs of 25,000, would not let p get anywhere here.
    config.augment.kimg = 20.0
    return config
