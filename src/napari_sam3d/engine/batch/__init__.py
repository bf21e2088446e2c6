"""Segmentation of many images, in this process, in several, or on a cluster."""
