"""The configuration of a workdir or model directory: `--config=DIR` ends up here."""

from tfstylegan import config as config_lib


def get_config(path):
    """Configuration of the run or model in the folder `path`."""
    return config_lib.load(path)
