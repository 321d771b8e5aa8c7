"""StyleGAN, Table 1, row A: the baseline, Progressive GAN.

What:     Row B with nearest-neighbour resampling and WGAN-GP, grown from 4x4; FFHQ,
          1024x1024.
Command:  python -m tfstylegan.train --config=configs/stylegan1_a.py
          --config.data.source=FOLDER
Cost:     12,000 kimg at 1024x1024; the papers give no time.
Expected: FID 8.04 on FFHQ, 7.79 on CelebA-HQ.
"""

from tfstylegan import config as config_lib


def get_config():
    config = config_lib.preset("stylegan1_b")
    for network in (config.generator, config.discriminator):
        network.resample_kernel = (1,)
    config.generator.conditioning = "progan"
    config.loss.g_loss = "wasserstein"
    config.loss.d_loss = "wasserstein"
    config.loss.r1_gamma = 0.0
    config.loss.gp_lambda = 10.0
    config.loss.gp_drift = 0.001
    config.growing.initial_resolution = 4
    config.growing.batch_size = ((4, 512), *config.growing.batch_size)
    config.growing.tick_kimg = ((4, 160.0), *config.growing.tick_kimg)
    config.growing.lr = ((128, 0.0015), (256, 0.002), (512, 0.002), (1024, 0.002))
    config.train.total_kimg = 12000.0
    return config
