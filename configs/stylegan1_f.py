"""StyleGAN, Table 1, row F: mixing regularisation, the complete StyleGAN.

What:     AdaIN synthesis from a learned constant with noise, growing from 8x8; FFHQ,
          1024x1024.
Command:  python -m tfstylegan.train --config=configs/stylegan1_f.py
          --config.data.source=FOLDER
Cost:     25,000 kimg at 1024x1024: 6 days 14 hours on 8 V100 with the published code.
Expected: FID 4.40 on FFHQ, 5.17 on CelebA-HQ (50,000 images, no truncation).
"""

from tfstylegan import config as config_lib


def get_config():
    config = config_lib.Config()
    config.data.source = "datasets/ffhq"
    config.data.resolution = 1024
    config.data.mirror = True
    for network in (config.generator, config.discriminator):
        network.architecture = "growing"
        network.fmap_base = 8192
        network.resample_kernel = (1, 2, 1)
    config.generator.block = "adain"
    config.generator.truncation_psi = 0.7
    config.generator.truncation_cutoff = 8
    config.discriminator.block = "stylegan"
    config.loss.lazy = False
    config.loss.pl_weight = 0.0
    config.train.d_first = True
    config.optimizer.g_lr = config.optimizer.d_lr = 0.001
    config.growing.initial_resolution = 8
    config.growing.batch_size = ((8, 256), (16, 128), (32, 64), (64, 32))
    config.growing.lr = ((128, 0.0015), (256, 0.002), (512, 0.003), (1024, 0.003))
    config.growing.tick_kimg = (
        *((8, 140.0), (16, 120.0), (32, 100.0), (64, 80.0)),
        *((128, 60.0), (256, 40.0), (512, 30.0), (1024, 20.0)),
    )
    config.train.batch_size = 32
    config.train.tick_kimg = 20.0
    return config
