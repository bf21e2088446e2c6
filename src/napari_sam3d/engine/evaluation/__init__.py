"""How well a model does on labelled volumes, by the protocols that others use."""
