"""Metrics of generated images: features, and one file a metric."""
