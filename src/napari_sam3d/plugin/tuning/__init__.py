"""The Train dock's parts: pairs, checks, settings, the course of a training, and what follows."""
