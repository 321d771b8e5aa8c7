"""The parts of the web page over a trained model, `tools/explore.py`."""
