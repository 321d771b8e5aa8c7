"""StyleGAN2, Table 2: G resnet, D orig.

What:     Row E of Table 1 with a generator of kind resnet and a discriminator of kind
          orig; FFHQ, 1024x1024.
Command:  python -m tfstylegan.train --config=configs/stylegan2_e_gresnet_dorig.py
          --config.data.source=FOLDER
Cost:     25,000 kimg at 1024x1024; row E takes 5 days 6 hours on 8 V100.
Expected: FID 4.35, path length 203 on FFHQ (unverified).
"""

from tfstylegan import config as config_lib


def get_config():
    config = config_lib.preset("stylegan2_e")
    config.generator.architecture = "resnet"
    config.discriminator.architecture = "orig"
    return config
