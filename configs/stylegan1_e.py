"""StyleGAN, Table 1, row E: noise inputs; Table 2, mixing in 0 % of the images.

What:     Row F without mixing regularisation; FFHQ, 1024x1024.
Command:  python -m tfstylegan.train --config=configs/stylegan1_e.py
          --config.data.source=FOLDER
Cost:     25,000 kimg at 1024x1024: 6 days 14 hours on 8 V100 with the published code.
Expected: FID 4.42 on FFHQ; 5.06 on CelebA-HQ (unverified).
"""

from tfstylegan import config as config_lib


def get_config():
    config = config_lib.preset("stylegan1_f")
    config.generator.style_mixing_prob = 0.0
    return config
