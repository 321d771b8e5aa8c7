"""StyleGAN in TensorFlow 2 and Keras 3. Importing this loads neither of them."""

__version__ = "0.1.0"

__all__ = ["__version__", "load_networks"]


def load_networks(path):
    """The networks of a trained model, as an object with .G, .D, .G_ema and .config.

    path: a run's workdir or a model directory. A network that is not there is None.
    """
    from tfstylegan.networks import storage  # Keras takes seconds: only when used.

    return storage.load_networks(path)
