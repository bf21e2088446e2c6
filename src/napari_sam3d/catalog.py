"""The models there are, as rows of data; nothing here imports a network."""

from __future__ import annotations

from dataclasses import dataclass, field

from napari_sam3d.volume import Shape3


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Where the weights of a model are."""

    file: str
    """File name, in the package's `engine/models` when `url` is None, else in the user cache."""
    sha256: str | None = None
    url: str | None = None
    licence: str = "BSD-3-Clause"


@dataclass(frozen=True, kw_only=True)
class Intensity:
    """The intensities a network was trained on."""

    kind: str
    """percentiles: clipped there, mean 0 and deviation 1; window: clipped to low and high, then
    shifted by mean and divided by std; positive: mean and deviation of what is above zero."""
    low: float = 0.0
    high: float = 0.0
    mean: float = 0.0
    std: float = 1.0


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """One row of the catalog."""

    name: str
    title: str
    """One line for menus."""
    family: str
    """The network, as "module:Class"."""
    patch_shape: Shape3
    """Voxels of the patch the network sees, (z, y, x)."""
    spacing_mm: float | None = None
    """Edge of its voxels; None when the patch follows the object."""
    axes: str = "IPL"
    """Where the axes of its input point; a letter each of I/S, P/A, L/R."""
    intensity: Intensity = field(default_factory=lambda: Intensity(kind="percentiles"))
    mask_shape: Shape3 | None = None
    """Voxels of the logits it gives and takes, in its own axes; None for those of the patch."""
    prompts: frozenset[str]
    """What it takes, out of foreground, background, mask."""
    weights: Weights
    sizes: dict[str, int] = field(default_factory=dict)
    """Keyword arguments of the network."""
    citation: str = ""


MODELS: dict[str, ModelSpec] = {
    spec.name: spec
    for spec in (
        ModelSpec(
            name="compact",
            title="compact: small all-purpose 3D model, works offline",
            family="napari_sam3d.engine.models.compact:Compact",
            patch_shape=(64, 64, 64),
            prompts=frozenset({"foreground", "background", "mask"}),
            weights=Weights(
                file="compact.safetensors",
                sha256="934a2615638fe18dc896994713b6de346d8058fd4c110aa07c0cd8a55893f757",
            ),
            citation="napari-sam3d contributors; see recipes/compact/MODEL_CARD.md",
        ),
    )
}


def model_spec(name: str) -> ModelSpec:
    """The row called `name`; ValueError with the known names when there is none."""
    try:
        return MODELS[name]
    except KeyError:
        known = ", ".join(sorted(MODELS))
        raise ValueError(f"There is no model called {name!r}; known models: {known}.") from None
