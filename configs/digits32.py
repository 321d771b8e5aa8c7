"""StyleGAN2 on scikit-learn's 1,797 handwritten digits, 32x32 grey; for a laptop.

python -m tfstylegan.train --config=configs/digits32.py --workdir=runs/digits32
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
