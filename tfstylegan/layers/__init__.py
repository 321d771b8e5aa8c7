"""Keras layers of StyleGAN, one idea a file."""
