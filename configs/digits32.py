"""StyleGAN2 on scikit-learn's 1,797 handwritten digits, 32x32 grey; for a laptop.

What:     config F's structure, narrowed; not a row of a paper. The data come with
          scikit-learn, nothing is downloaded.
Command:  python -m tfstylegan.train --config=configs/digits32.py
Cost:     100 kimg: about 6 minutes on 2 cores of a current machine, up to 15 on slow
          ones.
Expected: metric/pixel_frechet 0.6 to 0.9 at the end (about 63 untrained).
"""

from tfstylegan import config as config_lib


def get_config():
    config = config_lib.Config()
    config.data.source = "digits"
    config.data.resolution = 32
    config.data.channels = 1
    for network in (config.generator, config.discriminator):
        network.fmap_base = 512
        network.fmap_max = 64
    config.generator.z_dim = config.generator.w_dim = 64
    config.generator.mapping_layers = 4
    config.loss.r1_gamma = 1.0
    config.train.batch_size = 32
    config.train.total_kimg = 100.0
    config.train.tick_kimg = 2.0
    config.train.ema_halflife_kimg = 2.0
    config.train.image_ticks = 5
    config.train.checkpoint_ticks = 5
    config.train.metric_ticks = 10
    config.train.metric_images = 2000
    return config
