"""The image that the dock works on: a list of the viewer's images, and which one is taken."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from magicgui.widgets import ComboBox
from napari.layers import Image
from qtpy.QtCore import QObject, Signal

from napari_sam3d.plugin.dock.layer_watch import LayerWatch
from napari_sam3d.plugin.dock.parts import keep_narrow
from napari_sam3d.plugin.dock.probability import PROBABILITY

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_sam3d.plugin.session.session import Session

NONE = "Open a 3D image to begin."


class ImageChoice(QObject):
    """Follows the viewer's layers, and takes an image as soon as there is one.

    Parameters
    ----------
    viewer
        Its Image layers are offered.
    session
        Which one it works on is shown, and changed.
    """

    taken = Signal()
    """The session has an image now, which may be the one that it had."""
    refused = Signal(str)
    """Why the image that the user chose cannot be segmented."""
    said = Signal(str)
    """Why no image could be taken, or that there is none."""

    def __init__(self, viewer: ViewerModel, session: Session, parent: QObject) -> None:
        super().__init__(parent)
        self._viewer, self._session = viewer, session
        self.box = ComboBox(label="Image", choices=self._images, nullable=True)
        self.box.tooltip = "The 3D image whose objects are segmented"
        keep_narrow(self.box.native)
        self._watch = LayerWatch(viewer, self)
        self._watch.changed.connect(self._on_layers)
        self.box.changed.connect(self._on_chosen)
        self.refresh()

    def close(self) -> None:
        """Leave the viewer alone."""
        self._watch.close()

    def take(self, complain: Callable[[str], object]) -> None:
        """Take the selected image, else the first that can be segmented."""
        active = self._viewer.layers.selection.active
        errors = []
        for image in sorted(self._images(), key=lambda layer: layer != active):
            try:
                self.choose(image)
                return
            except ValueError as error:
                errors.append(str(error))
        if errors:
            complain(errors[0])
        else:
            self.said.emit(NONE)

    def choose(self, image: Image | None) -> None:
        """Work on this image, or on none; ValueError with a sentence when it cannot be used."""
        self._session.set_image(image)
        self.refresh()
        self.taken.emit()

    def refresh(self) -> None:
        """Offer the images that there are, and show the session's."""
        with self.box.changed.blocked():
            self.box.reset_choices()
            self.box.value = self._session.image

    def _images(self, *_: Any) -> list[Image]:
        layers = (layer for layer in self._viewer.layers if isinstance(layer, Image))
        return [layer for layer in layers if PROBABILITY not in layer.metadata]

    def _on_layers(self) -> None:
        self._session.sweep()
        self.refresh()
        if self._session.image is None:
            self.take(self.said.emit)

    def _on_chosen(self, image: Image | None) -> None:
        try:
            self.choose(image)
        except ValueError as error:
            self.refused.emit(str(error))
            self.refresh()
