"""StyleGAN, Table 1, row C: mapping network and styles.

What:     Row D with the traditional input, a dense layer of w; FFHQ, 1024x1024.
Command:  python -m tfstylegan.train --config=configs/stylegan1_c.py
          --config.data.source=FOLDER
Cost:     25,000 kimg at 1024x1024: 6 days 14 hours on 8 V100 with the published code.
Expected: FID 4.85 on FFHQ; 5.34 on CelebA-HQ (unverified).
"""

from tfstylegan import config as config_lib


def get_config():
    config = config_lib.preset("stylegan1_d")
    config.generator.const_input = False
    return config
