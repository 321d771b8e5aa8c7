"""Collections, one file a format; `finding` knows which is meant."""
