"""The Segment dock of a window: the one that is open, or a new one beside the Train dock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_sam3d.plugin.segment_widget import SegmentWidget

_PLUGIN, _SEGMENT = "napari-sam3d", "Segment"


def open_segment(viewer: ViewerModel) -> SegmentWidget:
    """The Segment dock of a viewer, in front of what lies in the same place."""
    window: Any = viewer.window  # a plugin's viewer has one
    # one above the other, two docks would be too low for either
    frame, dock = window.add_plugin_dock_widget(_PLUGIN, _SEGMENT, tabify=True)
    frame.show()
    frame.raise_()
    return dock
