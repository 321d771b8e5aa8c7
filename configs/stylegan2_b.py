"""StyleGAN2, Table 1, B: weight demodulation.

What:     Row A with modulated convolutions and [1, 3, 3, 1] filters, growing; FFHQ,
          1024x1024.
Command:  python -m tfstylegan.train --config=configs/stylegan2_b.py
          --config.data.source=FOLDER
Cost:     25,000 kimg at 1024x1024; the paper gives no time.
Expected: FID 4.39, path length 175.4, precision 0.702, recall 0.425 on FFHQ
          (unverified).
"""

from tfstylegan import config as config_lib


def get_config():
    config = config_lib.preset("stylegan2_a")
    for network in (config.generator, config.discriminator):
        network.resample_kernel = (1, 3, 3, 1)
    config.generator.block = "modulated"
    config.generator.truncation_psi = 0.5
    config.generator.truncation_cutoff = -1
    config.discriminator.block = "stylegan2"
    return config
