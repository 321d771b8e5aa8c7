"""StyleGAN2, Table 2: G orig, D resnet.

What:     Row E of Table 1 with a generator of kind orig and a discriminator of kind
          resnet; FFHQ, 1024x1024.
Command:  python -m tfstylegan.train --config=configs/stylegan2_e_gorig_dresnet.py
          --config.data.source=FOLDER
Cost:     25,000 kimg at 1024x1024; row E takes 5 days 6 hours on 8 V100.
Expected: FID 3.58, path length 269 on FFHQ (unverified).
"""

from tfstylegan import config as config_lib


def get_config():
    config = config_lib.preset("stylegan2_e")
    config.generator.architecture = "orig"
    config.discriminator.architecture = "resnet"
    return config
