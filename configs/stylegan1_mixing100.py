"""StyleGAN, Table 2: mixing regularisation in 100 % of the images.

What:     Row F with 100 instead of 90 % mixed images; FFHQ, 1024x1024.
Command:  python -m tfstylegan.train --config=configs/stylegan1_mixing100.py
          --config.data.source=FOLDER
Cost:     25,000 kimg at 1024x1024: 6 days 14 hours on 8 V100 with the published code.
Expected: the paper's Table 2 compares it with 0 % (row E) and 90 % (row F).
"""

from tfstylegan import config as config_lib


def get_config():
    config = config_lib.preset("stylegan1_f")
    config.generator.style_mixing_prob = 1.0
    return config
