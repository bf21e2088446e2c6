"""Volumes as napari layers, and layers as volumes."""
