"""StyleGAN2, Table 1, C: lazy regularisation.

What:     Row B with R1 in every 16th step only; FFHQ, 1024x1024.
Command:  python -m tfstylegan.train --config=configs/stylegan2_c.py
          --config.data.source=FOLDER
Cost:     25,000 kimg at 1024x1024; the paper gives no time.
Expected: FID 4.38, path length 158.0, precision 0.719, recall 0.427 on FFHQ
          (unverified).
"""

from tfstylegan import config as config_lib


def get_config():
    config = config_lib.preset("stylegan2_b")
    config.loss.lazy = True
    return config
