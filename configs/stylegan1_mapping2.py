"""StyleGAN, Table 4: style-based, a mapping network of 2 layers.

What:     Row F with 2 instead of 8 mapping layers; FFHQ, 1024x1024.
Command:  python -m tfstylegan.train --config=configs/stylegan1_mapping2.py
          --config.data.source=FOLDER
Cost:     25,000 kimg at 1024x1024: 6 days 14 hours on 8 V100 with the published code.
Expected: the paper's Table 4 compares it with 8 layers (row F): FID 4.40, path length
          195.9, separability 3.79.
"""

from tfstylegan import config as config_lib


def get_config():
    config = config_lib.preset("stylegan1_f")
    config.generator.mapping_layers = 2
    return config
