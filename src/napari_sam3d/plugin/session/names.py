"""What the labels of a layer are called, and in which colours they are shown."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils import CyclicLabelColormap, DirectLabelColormap

from napari_sam3d.io.label_names import Color
from napari_sam3d.plugin.session.objects import OBJECTS, Object

if TYPE_CHECKING:
    from napari.layers import Labels

Colors = Callable[[Iterable[int]], dict[int, Color]]
_COLOR = re.compile("#[0-9a-fA-F]{6}")
_MANY = 4096
"""Labels whose colours do not recur once one of them was chosen; a layer rarely has more."""


def titles_of(meta: Mapping[str, Any]) -> dict[int, str]:
    """Names of labels by id, from the layer's features and the objects segmented in it.

    Parameters
    ----------
    meta
        Settings of a Labels layer; `features` with a column `name`, and a column `index` unless
        row n is about label n, and `metadata` count.
    """
    titles: dict[int, str] = {}
    features = meta.get("features")
    if features is not None and "name" in features:
        names = list(features["name"])
        ids = list(features["index"]) if "index" in features else range(len(names))
        for label, name in zip(ids, names, strict=True):
            if isinstance(name, str) and name and _is_label(label):
                titles[int(label)] = name
    for label, it in (meta.get("metadata", {}).get(OBJECTS) or {}).items():
        titles[label] = it.name or titles.get(label) or it.title(label)
    titles.pop(0, None)
    return titles


def categories_of(meta: Mapping[str, Any]) -> dict[int, str]:
    """What the objects segmented in a Labels layer are, by id; without those of which nobody said.

    Parameters
    ----------
    meta
        Settings of the layer.
    """
    objects = meta.get("metadata", {}).get(OBJECTS) or {}
    return {label: it.category for label, it in sorted(objects.items()) if it.category}


def show_colors(labels: Labels, objects: Mapping[int, Object]) -> None:
    """Have a Labels layer show objects in the colours that were chosen; the others keep theirs."""
    chosen = {
        label: rgba
        for label, it in objects.items()
        if _COLOR.fullmatch(it.color)  # files of unsaved work are not trusted
        and not np.allclose(labels.colormap.map(label), rgba := _rgba(it.color))
    }
    if not chosen:
        return
    before = labels.colormap
    if isinstance(before, DirectLabelColormap):
        labels.colormap = DirectLabelColormap(color_dict={**before.color_dict, **chosen})
        return
    colors = before.colors
    if len(colors) <= _MANY:  # napari's 49: several rounds, so that each label has its own
        rounds = -(-_MANY // (len(colors) - 1))
        colors = np.concatenate([colors[:1], *[colors[1:]] * rounds])
    colors = np.array(colors)
    for label, rgba in chosen.items():
        colors[(label - 1) % (len(colors) - 1) + 1] = rgba
    labels.colormap = CyclicLabelColormap(
        colors=colors,
        seed=before.seed,
        use_selection=before.use_selection,
        selection=before.selection,
        background_value=before.background_value,
    )


def colors_of(meta: Mapping[str, Any]) -> Colors:
    """Says in which colours the layer shows labels."""
    colormap = meta.get("colormap")

    def colors(labels: Iterable[int]) -> dict[int, Color]:
        labels = list(labels)
        if not labels or colormap is None or not hasattr(colormap, "map"):
            return {}
        rgba = np.asarray(colormap.map(np.array(labels))).reshape(-1, 4)
        return {label: tuple(row) for label, row in zip(labels, rgba.tolist(), strict=True)}

    return colors


def _rgba(color: str) -> tuple[float, ...]:
    return (*(int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)), 1.0)


def _is_label(value: Any) -> bool:
    try:
        return bool(int(value) == value)
    except (TypeError, ValueError, OverflowError):
        return False
