"""StyleGAN2, Table 1, A with large networks.

What:     Row A with twice the feature maps at high resolutions; FFHQ, 1024x1024.
Command:  python -m tfstylegan.train --config=configs/stylegan2_a_large.py
          --config.data.source=FOLDER
Cost:     25,000 kimg at 1024x1024; the paper gives no time.
Expected: FID 3.98, path length 199.2, precision 0.716, recall 0.422 on FFHQ
          (unverified).
"""

from tfstylegan import config as config_lib


def get_config():
    config = config_lib.preset("stylegan2_a")
    for network in (config.generator, config.discriminator):
        network.fmap_base = 16384
    return config
