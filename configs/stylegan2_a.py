"""StyleGAN2, Table 1, A: the baseline, StyleGAN.

What:     StyleGAN's networks as the second paper trained them; FFHQ, 1024x1024.
Command:  python -m tfstylegan.train --config=configs/stylegan2_a.py
          --config.data.source=FOLDER
Cost:     25,000 kimg at 1024x1024: 37 images/s on 8 V100 with the published code.
Expected: FID 4.40, path length 212.1, precision 0.721, recall 0.399 on FFHQ (all but
          FID unverified).
"""

from tfstylegan import config as config_lib


def get_config():
    config = config_lib.preset("stylegan1_f")
    config.train.d_first = False
    config.growing.tick_kimg = (
        *((8, 28.0), (16, 24.0), (32, 20.0), (64, 16.0)),
        *((128, 12.0), (256, 8.0), (512, 6.0), (1024, 4.0)),
    )
    config.train.tick_kimg = 4.0
    return config
