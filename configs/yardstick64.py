"""Benchmark: StyleGAN2 at 64x64, the size that other code bases were timed with.

What:     config F's structure (skip generator, resnet discriminator), narrowed; for
          timing only, trained to no published number.
Command:  python tools/bench_training.py --config=configs/yardstick64.py
Cost:     some 2 minutes on 2 cores.
Expected: about 0.07 images/s per GFLOP/s of a float32 matrix product: some 18
          images/s on 2 cores that make 250.
"""

from tfstylegan import config as config_lib


def get_config():
    config = config_lib.Config()
    config.data.resolution = 64
    config.data.channels = 3
    config.generator.architecture = "skip"
    config.generator.z_dim = config.generator.w_dim = 128
    config.generator.mapping_layers = 8
    config.generator.style_mixing_prob = 0.9
    config.discriminator.architecture = "resnet"
    config.discriminator.mbstd_group_size = 4
    for network in (config.generator, config.discriminator):
        network.fmap_base = 2048
        network.fmap_max = 128
    config.loss.r1_interval = 16
    config.loss.pl_interval = 4
    config.loss.pl_weight = 2.0
    config.loss.pl_batch_shrink = 2
    config.train.batch_size = 16
    return config
