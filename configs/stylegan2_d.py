"""StyleGAN2, Table 1, D: path length regularisation.

What:     Row C with path length regularisation in every 4th step; FFHQ, 1024x1024.
Command:  python -m tfstylegan.train --config=configs/stylegan2_d.py
          --config.data.source=FOLDER
Cost:     25,000 kimg at 1024x1024; the paper gives no time.
Expected: FID 4.34, path length 122.5, precision 0.715, recall 0.418 on FFHQ
          (unverified).
"""

from tfstylegan import config as config_lib


def get_config():
    config = config_lib.preset("stylegan2_c")
    config.loss.pl_weight = 2.0
    return config
