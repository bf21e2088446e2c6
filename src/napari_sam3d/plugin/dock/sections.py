"""What the dock has below its status line: masks, hand edits, tables and files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_sam3d.plugin.dock.file_controls import FileControls
from napari_sam3d.plugin.dock.hand_controls import HandControls
from napari_sam3d.plugin.dock.overview import Overview
from napari_sam3d.plugin.dock.parts import fold
from napari_sam3d.plugin.dock.probability import ProbabilityLayer
from napari_sam3d.plugin.dock.start_from import StartFrom

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_sam3d.plugin.dock.model_choice import ModelChoice
    from napari_sam3d.plugin.dock.words import Words
    from napari_sam3d.plugin.session.session import Session


class Sections:
    """The sections, and their order.

    Parameters
    ----------
    viewer, session
        What they are about.
    model
        Has the settings of what is made of a network's answer.

    Attributes
    ----------
    in_order
        All of them, as they are used one after the other.
    """

    def __init__(self, viewer: ViewerModel, session: Session, model: ModelChoice) -> None:
        self.probability = ProbabilityLayer(session, viewer)
        self.hand = HandControls(session)
        self.start_from = StartFrom(viewer, session)
        self.overview = Overview(session)
        self.files = FileControls()
        self.in_order: list[QWidget] = [
            model.threshold,
            fold(
                "Finishing and probability",
                _stack(model.finishing, self.probability),
                "Keep one part of masks, fill holes, smooth; show how sure the model is",
            ),
            fold("Hand edits", self.hand, "What masks do where you have painted"),
            fold("Start from a mask", self.start_from, "Go on from a mask that is there"),
            self.overview,
            self.files,
        ]

    def speak_by(self, words: Words) -> None:
        """Say, and refuse, by these words."""
        for part in (self.start_from, self.probability, self.overview):
            part.said.connect(words.say)
        for other in (self.start_from, self.overview):
            other.refused.connect(words.refuse)

    def close(self) -> None:
        """Leave the session and the viewer alone."""
        self.hand.teardown()
        self.start_from.teardown()
        self.overview.stop()
        self.probability.close_layer()


def _stack(*widgets: QWidget) -> QWidget:
    it = QWidget()
    layout = QVBoxLayout(it)
    layout.setContentsMargins(0, 0, 0, 0)
    for widget in widgets:
        layout.addWidget(widget)
    return it
