"""Files of other implementations: reading their checkpoints without running them."""
