"""The keys of the dock: bound in the viewer where they are free, and given back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from napari.utils.key_bindings import coerce_keybinding

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

KEYS = {"new": "N", "kind": "G", "cancel": "Escape"}
"""napari 0.9 has no use of its own for them in the viewer."""

MEANINGS = (
    ("Click", "a point, in a slice or in 3D"),
    ("Drag", "a box or stroke, with that tool"),
    ("Ctrl", "held: the other sign, once"),
    (KEYS["kind"], "positive or negative"),
    (KEYS["new"], "new object"),
    ("Ctrl+Z", "undo; Ctrl+Shift+Z redo"),
    ("Esc", "give up a drawing; cancel"),
    ("Space", "held: move the view"),
)
"""What the guide says of the mouse and the keys."""


class Keys:
    """Our keys in a viewer, except those that somebody else has bound, there or in Preferences.

    Parameters
    ----------
    viewer
        The viewer, or a `ViewerModel` without a window.
    actions
        What each of `KEYS` does.
    """

    def __init__(self, viewer: ViewerModel, actions: Mapping[str, Callable[[], object]]) -> None:
        self._viewer, self._actions = viewer, actions
        self._lent: Layer | None = None
        self._bound: list[str] = []
        # a key of Preferences is bound in the class, which one of the viewer would cover
        taken = {*viewer.keymap, *viewer.class_keymap}
        for name, action in actions.items():
            key = KEYS[name]
            if coerce_keybinding(key) not in taken:
                viewer.bind_key(key, lambda viewer, action=action: action())
                self._bound.append(key)

    def lend_cancel(self, layer: Layer | None) -> None:
        """Have a layer of ours, with a use of its own for that key, cancel instead; or no layer."""
        if self._lent is not None:
            self._lent.bind_key(KEYS["cancel"], None)
        free = layer is not None and coerce_keybinding(KEYS["cancel"]) not in layer.keymap
        self._lent = layer if free else None
        if self._lent is not None:
            self._lent.bind_key(KEYS["cancel"], lambda layer: self._actions["cancel"]())

    def close(self) -> None:
        """Give the keys back."""
        self.lend_cancel(None)
        for key in self._bound:
            self._viewer.bind_key(key, None)
        self._bound.clear()
