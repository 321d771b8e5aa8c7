"""StyleGAN2, Table 1, E: no growing, new networks; Table 2, G skip, D resnet.

What:     Row F with half the feature maps at high resolutions and gamma 100; FFHQ,
          1024x1024.
Command:  python -m tfstylegan.train --config=configs/stylegan2_e.py
          --config.data.source=FOLDER
Cost:     25,000 kimg at 1024x1024: 5 days 6 hours on 8 V100 with the published code (61
          images/s).
Expected: FID 3.31, path length 124.5, precision 0.705, recall 0.449 on FFHQ
          (unverified).
"""

from tfstylegan import config as config_lib


def get_config():
    config = config_lib.preset("stylegan2_f")
    for network in (config.generator, config.discriminator):
        network.fmap_base = 8192
    config.loss.r1_gamma = 100.0
    return config
