"""StyleGAN, Table 1, row B: tuning and bilinear resampling; Table 4, traditional, 0.

What:     The traditional generator: row C without styles and mapping, with pixel norm;
          FFHQ, 1024x1024.
Command:  python -m tfstylegan.train --config=configs/stylegan1_b.py
          --config.data.source=FOLDER
Cost:     25,000 kimg at 1024x1024: 6 days 14 hours on 8 V100 with the published code.
Expected: FID 5.25 on FFHQ; 6.11 on CelebA-HQ (unverified).
"""

from tfstylegan import config as config_lib


def get_config():
    config = config_lib.preset("stylegan1_c")
    config.generator.styles = False
    config.generator.pixel_norm = True
    config.generator.mapping_layers = 0
    config.generator.truncation_psi = 1.0
    return config
