"""StyleGAN2, Figure 2(c), on 1,797 handwritten digits, 32x32 grey; to teach with.

What:     the simplest networks that have styles: blocks that normalise what they scale
          (Figure 2(c)), one image at the end, a mapping network of one linear layer;
          not a row of a paper. The data come with scikit-learn, nothing is downloaded.
Command:  python -m tfstylegan.train --config=configs/figure2c_digits32.py
Cost:     60 kimg: 11 min 40 s on 2 cores that other work shared; some 10 minutes of one
          processor, so about 6 minutes on 2 quiet cores (estimated).
Expected: metric/pixel_frechet about 1.8 at the end (48 untrained), 3.6 at 20 kimg;
          measured once.
"""

from tfstylegan import config as config_lib


def get_config():
    config = config_lib.preset("digits32")
    config.generator.block = "normalized"
    config.generator.architecture = config.discriminator.architecture = "orig"
    config.generator.mapping_layers = 1
    config.generator.mapping_act = "linear"
    config.loss.pl_weight = 0.0
    config.train.total_kimg = 60.0
    return config
