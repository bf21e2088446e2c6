"""The model families; each imports `base`, `blocks` and libraries only."""
