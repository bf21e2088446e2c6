"""The table of models, from the catalog."""

from __future__ import annotations

from napari_sam3d.catalog import MODELS, ModelSpec


def model_table() -> str:
    """A row for each model, in Markdown."""
    lines = ["| model | sees | takes | weights | their licence |", "|---|---|---|---|---|"]
    for spec in MODELS.values():
        title = spec.title.removeprefix(f"{spec.name}: ")
        cells = (
            f"`{spec.name}`<br>{title}",
            _sees(spec),
            _takes(spec),
            _weights(spec),
            spec.weights.licence,
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _sees(spec: ModelSpec) -> str:
    if spec.way == "following":
        return "patches that fit the object"
    if spec.way == "slices":
        return "slice by slice"
    if not any(spec.patch_shape):
        return "the whole volume, some slices at a time"
    patch = f"of {spec.patch_shape[0]} voxels of {spec.spacing_mm:g} mm"
    return f"the whole volume in windows {patch}" if spec.classes else f"patches {patch}"


def _takes(spec: ModelSpec) -> str:
    from napari_sam3d.takes import taken

    words = taken(spec).replace(" the object", "")
    return f"{words}, an earlier mask" if "mask" in spec.prompts else words


def _weights(spec: ModelSpec) -> str:
    if spec.weights.shipped:
        return "built in"
    if spec.weights.url is None:
        return f"[to be added]({spec.weights.page})"
    size = f", {spec.weights.size / 1e6:.0f} MB" if spec.weights.size else ""
    return f"downloaded{size}"
