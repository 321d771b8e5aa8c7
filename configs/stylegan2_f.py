"""StyleGAN2, Table 1, F: large networks, the complete StyleGAN2.

What:     Skip generator, residual discriminator, nothing grows; FFHQ, 1024x1024.
Command:  python -m tfstylegan.train --config=configs/stylegan2_f.py
          --config.data.source=FOLDER
Cost:     25,000 kimg at 1024x1024: 9 days 18 hours on 8 V100 with the published code.
Expected: FID 2.84, path length 145.0, precision 0.689, recall 0.492 on FFHQ.
"""

from tfstylegan import config as config_lib


def get_config():
    config = config_lib.Config()
    config.data.source = "datasets/ffhq"
    config.data.resolution = 1024
    config.data.mirror = True
    config.generator.architecture = "skip"
    config.generator.truncation_psi = 0.5
    config.discriminator.architecture = "resnet"
    return config
