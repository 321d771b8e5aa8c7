"""StyleGAN, Table 1, row D: the traditional input removed.

What:     Row E without noise inputs; FFHQ, 1024x1024.
Command:  python -m tfstylegan.train --config=configs/stylegan1_d.py
          --config.data.source=FOLDER
Cost:     25,000 kimg at 1024x1024: 6 days 14 hours on 8 V100 with the published code.
Expected: FID 4.88 on FFHQ; 5.07 on CelebA-HQ (unverified).
"""

from tfstylegan import config as config_lib


def get_config():
    config = config_lib.preset("stylegan1_e")
    config.generator.noise = False
    return config
