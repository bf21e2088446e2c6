"""What the labels of a layer are called, and in which colours they are shown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from napari_sam3d.io.label_names import Color
from napari_sam3d.plugin.objects import OBJECTS

Colors = Callable[[Iterable[int]], dict[int, Color]]


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


def _is_label(value: Any) -> bool:
    try:
        return bool(int(value) == value)
    except (TypeError, ValueError, OverflowError):
        return False
