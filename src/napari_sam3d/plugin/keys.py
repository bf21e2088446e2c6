"""The keys of the dock: bound in the viewer where they are free, and given back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from napari.utils.key_bindings import coerce_keybinding

if TYPE_CHECKING:
    from napari.components import ViewerModel

KEYS = {"new": "N", "kind": "G", "cancel": "Escape"}
"""napari 0.9 has no use of its own for them in the viewer."""

MEANINGS = (
    ("Click", "a point of the chosen kind, in a slice or in 3D"),
    ("Ctrl+click", "a point of the other kind"),
    (KEYS["kind"], "positive or negative"),
    (KEYS["new"], "new object"),
    ("Ctrl+Z", "undo; Ctrl+Shift+Z redo"),
    ("Esc", "cancel"),
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
        self._viewer = viewer
        self._bound: list[str] = []
        # a key of Preferences is bound in the class, which one of the viewer would cover
        taken = {*viewer.keymap, *viewer.class_keymap}
        for name, action in actions.items():
            key = KEYS[name]
            if coerce_keybinding(key) not in taken:
                viewer.bind_key(key, lambda viewer, action=action: action())
                self._bound.append(key)

    def close(self) -> None:
        """Give the keys back."""
        for key in self._bound:
            self._viewer.bind_key(key, None)
        self._bound.clear()
