"""Whole networks out of layers; `build` makes them from a configuration."""
