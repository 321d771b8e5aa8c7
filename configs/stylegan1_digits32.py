"""StyleGAN, growing from 8x8 to 32x32 on 1,797 handwritten digits; for a laptop.

What:     row F's structure, narrowed, grey; not a row of a paper. The data come with
          scikit-learn, nothing is downloaded.
Command:  python -m tfstylegan.train --config=configs/stylegan1_digits32.py
Cost:     100 kimg: 12 minutes on 2 cores of a current machine, which makes 20 minutes
          of one processor.
Expected: metric/pixel_frechet 1.4 to 1.7 at the end (43 untrained, at 32x32), 11 at 40
          kimg, 2.4 at 80; 1.1 with 120 kimg. Few different digits until 60.
"""

from tfstylegan import config as config_lib


def get_config():
    config = config_lib.preset("stylegan1_f")
    config.data.source = "digits"
    config.data.resolution = 32
    config.data.channels = 1
    config.data.mirror = False
    for network in (config.generator, config.discriminator):
        network.fmap_base = 512
        network.fmap_max = 64
    config.generator.z_dim = config.generator.w_dim = 64
    config.generator.mapping_layers = 4
    config.loss.r1_gamma = 1.0
    config.optimizer.g_lr = config.optimizer.d_lr = 0.002
    config.growing.train_kimg = config.growing.fade_kimg = 10.0
    config.growing.batch_size = config.growing.lr = config.growing.tick_kimg = ()
    config.train.batch_size = 32
    config.train.total_kimg = 100.0
    config.train.tick_kimg = 2.0
    config.train.ema_halflife_kimg = 2.0
    config.train.image_ticks = 5
    config.train.checkpoint_ticks = 5
    config.train.metric_ticks = 10
    config.train.metric_images = 2000
    return config
