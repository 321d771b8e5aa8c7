"""StyleGAN, Table 4: traditional generator with a mapping network.

What:     Row B with 8 mapping layers; FFHQ, 1024x1024.
Command:  python -m tfstylegan.train --config=configs/stylegan1_traditional8.py
          --config.data.source=FOLDER
Cost:     25,000 kimg at 1024x1024: 6 days 14 hours on 8 V100 with the published code.
Expected: FID 4.87 on FFHQ; separability 170.29 in Z, 6.52 in W.
"""

from tfstylegan import config as config_lib


def get_config():
    config = config_lib.preset("stylegan1_b")
    config.generator.mapping_layers = 8
    return config
