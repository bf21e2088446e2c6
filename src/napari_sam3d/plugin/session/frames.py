"""The steps of an image with more than three axes: each is a volume of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal

from napari_sam3d.plugin.layers.arrays import level_of
from napari_sam3d.plugin.layers.convert import volume_from_layer
from napari_sam3d.volume import Volume

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Labels

STEP = "napari_sam3d_step"
"""Key in the metadata of a Labels layer: the step that its masks belong to."""
_WAS_SHOWN = "napari_sam3d_shown"


class Frames:
    """Gives the volume at which the sliders of a viewer stand, and tells when it is another one.

    Parameters
    ----------
    viewer
        The viewer, or a `ViewerModel` without a window.
    """

    moved = Signal()
    """The sliders stand at another step of `image`, or the view was rolled."""

    def __init__(self, viewer: ViewerModel) -> None:
        self.image: Image | None = None
        self.left: list[Labels] = []
        """Masks of steps of it that were worked on before."""
        self._viewer = viewer
        self._volumes: dict[tuple[int, ...], Volume] = {}
        self._of: tuple[Any, Any] = (None, None)
        self._seen: tuple[int, ...] | str = ()
        for event in self._events():
            event.connect(self._on_dims)

    def close(self) -> None:
        """Leave the viewer alone."""
        for event in self._events():
            event.disconnect(self._on_dims)

    def follow(self, image: Image | None) -> None:
        """Watch the step of this image, or of none."""
        self.image, self.left = image, []
        self._seen = self._look()

    def volume_of(self, image: Image) -> Volume:
        """What is shown of an image now; of one step it is always the same value.

        Raises
        ------
        ValueError
            With one sentence, when it has none, or its steps run along a displayed axis.
        """
        step = step_of(self._viewer, image)
        volume = volume_from_layer(image, step)
        if not step:
            return volume
        if self._of[0] is not image or self._of[1] is not image.data:
            self._volumes, self._of = {}, (image, image.data)
        known = self._volumes.get(step)
        if known is None or known.grid != volume.grid or known.name != volume.name:
            known = self._volumes[step] = volume
        return known

    def leave(self, labels: Labels) -> None:
        """Hide the masks of a step that is shown no longer."""
        labels.metadata.setdefault(_WAS_SHOWN, labels.visible)
        labels.visible = False
        self.left = [*(it for it in self.left if it is not labels), labels]

    def return_to(self, labels: Labels) -> None:
        """Show the masks of a step again, unless the user had hidden them."""
        if labels.metadata.pop(_WAS_SHOWN, False):
            labels.visible = True

    def _events(self) -> tuple:
        events = self._viewer.dims.events
        return events.current_step, events.order, events.ndisplay

    def _look(self) -> tuple[int, ...] | str:
        """The step, or why there is none."""
        if self.image is None or self.image.ndim <= 3:
            return ()
        try:
            return step_of(self._viewer, self.image)
        except ValueError as error:
            return str(error)

    def _on_dims(self) -> None:
        seen, self._seen = self._seen, self._look()
        if self._seen != seen:
            self.moved.emit()


def step_of(viewer: ViewerModel, image: Image) -> tuple[int, ...]:
    """Indices along all axes of an image but the last three, by the sliders of the viewer.

    Raises
    ------
    ValueError
        With one sentence, when such an axis is displayed, or the sliders stand beyond it.
    """
    leading = image.ndim - 3
    if leading <= 0:
        return ()
    dims = viewer.dims
    before = dims.ndim - image.ndim
    shown = [axis - before for axis in dims.displayed]
    if min(shown) < leading:
        raise ValueError(
            f"The view shows {image.name} along its axis {image.axis_labels[min(shown)]}: roll the "
            "axes until its last three are displayed."
        )
    step = np.rint(image.world_to_data(dims.point)[:leading]).astype(int)
    if (step < 0).any() or (step >= level_of(image).shape[:leading]).any():
        raise ValueError(f"{image.name} has nothing at this step: move the slider back.")
    return tuple(step.tolist())


def step_title(step: tuple[int, ...]) -> str:
    """What is appended to the name of a layer for one step; empty for a lone volume."""
    return f" step {' '.join(map(str, step))}" if step else ""
