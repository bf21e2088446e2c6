"""Whether objects are of a size that the patches of a model suit."""

from __future__ import annotations

from collections.abc import Sequence

from napari_sam3d.catalog import ModelSpec
from napari_sam3d.engine.training.checking.check import GOOD, WARNING, Check
from napari_sam3d.engine.training.checking.contents import Contents

_FEWEST = 3  # voxels of the model along the longest edge of what it can be shown


def extent_check(spec: ModelSpec, found: Sequence[Contents]) -> Check:
    """Hold the longest edges of all objects against the patch, in millimetres."""
    edges = [edge for it in found for edge in it.edges_mm.values()]
    small, large = min(edges), max(edges)
    objects = f"Objects of {small:.0f} to {large:.0f} mm"
    if len(edges) == 1:
        objects = f"An object of {large:.0f} mm"
    if spec.way != "fixed" or spec.spacing_mm is None:
        fits = "; patches fit themselves to them" if spec.way == "following" else ""
        return Check("", "extent", GOOD, f"{objects}{fits}.")
    patch = min(spec.patch_shape) * spec.spacing_mm
    seen = f"patches of {spec.name} have {patch:.0f} mm"
    if large > patch:
        said = (
            f"{objects}, but {seen}, so the largest are seen in part only; compact fits its "
            "patches to the object."
        )
        return Check("", "extent", WARNING, said)
    if small < _FEWEST * spec.spacing_mm:
        said = (
            f"{objects}, but voxels of {spec.name} have {spec.spacing_mm:g} mm, too coarse for "
            "the smallest; compact fits its patches to the object."
        )
        return Check("", "extent", WARNING, said)
    return Check("", "extent", GOOD, f"{objects}; {seen}.")
