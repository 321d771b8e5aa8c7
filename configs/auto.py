"""StyleGAN2, automatic: parameters by image size and GPUs, as StyleGAN2-ADA has them.

What:     batch, learning rate, R1 gamma, width, EMA and minibatch-stddev group follow
          from the image size and the number of GPUs; mapping of 2 layers, EMA ramped
          up. After the colon what it is for, gpus=1 and the batch size by default.
Command:  python -m tfstylegan.train --config=configs/auto.py:resolution=256,gpus=1
          --dry_run prints what follows from it.
Cost:     25,000 kimg at 256x256 unless told otherwise; the paper gives no time.
Expected: a start for data that nobody has tuned for; the paper tunes gamma further.
"""

from tfstylegan import config as config_lib

DEFAULTS = {"resolution": 256, "gpus": 1, "batch_size": 0}


def values(*, resolution, gpus, batch_size=0):
    """{name: value} by the rules of Karras et al. 2020; batch_size 0 follows as well.

    gamma = 0.0002 resolution^2 / batch; a half-life of 10 kimg for a batch of 32.
    """
    batch = batch_size or max(min(gpus * min(4096 // resolution, 32), 64), gpus)
    return {
        "batch_size": batch,
        "mbstd_group_size": max(1, min(batch // gpus, 4)),
        "fmap_base": 16384 if resolution >= 512 else 8192,
        "lr": 0.002 if resolution >= 1024 else 0.0025,
        "r1_gamma": 0.0002 * resolution**2 / batch,
        "ema_halflife_kimg": batch * 10 / 32,
        "ema_rampup": 0.05,
        "mapping_layers": 2,
    }


def get_config(wanted=""):
    wanted = _read(wanted)
    of = values(**wanted)
    config = config_lib.Config()
    config.data.resolution = wanted["resolution"]
    for network in (config.generator, config.discriminator):
        network.fmap_base = of["fmap_base"]
    config.generator.mapping_layers = of["mapping_layers"]
    config.discriminator.mbstd_group_size = of["mbstd_group_size"]
    config.loss.r1_gamma = of["r1_gamma"]
    config.optimizer.g_lr = config.optimizer.d_lr = of["lr"]
    config.train.batch_size = of["batch_size"]
    config.train.ema_halflife_kimg = of["ema_halflife_kimg"]
    config.train.ema_rampup = of["ema_rampup"]
    return config


def _read(wanted):
    """{name: number} of "resolution=256,gpus=8"."""
    numbers = dict(DEFAULTS)
    for part in filter(None, (wanted or "").split(",")):
        name, _, number = part.partition("=")
        if name not in DEFAULTS or not number.isdecimal():
            raise ValueError(
                f"configs/auto.py takes NAME=NUMBER with names of "
                f"{', '.join(DEFAULTS)}; got {part!r}"
            )
        numbers[name] = int(number)
    for name in ("resolution", "gpus"):
        if numbers[name] < 1:
            raise ValueError(f"{name} must be at least 1; got {numbers[name]}")
    return numbers
