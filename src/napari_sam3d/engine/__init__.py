"""Networks and everything that runs them; knows torch, neither napari nor Qt."""
