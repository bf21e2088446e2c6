"""Which kind of lessons suits a network."""

from __future__ import annotations

from napari_sam3d.catalog import ModelSpec
from napari_sam3d.engine.models.base import PromptableModel
from napari_sam3d.engine.training.cases import Split
from napari_sam3d.engine.training.class_lessons import ClassLessons
from napari_sam3d.engine.training.click_lessons import ClickLessons
from napari_sam3d.engine.training.lessons import Lessons
from napari_sam3d.settings import TrainSettings


def lessons_of(
    model: PromptableModel, spec: ModelSpec, parts: Split, settings: TrainSettings
) -> Lessons:
    """Clicks on objects, or all classes at once for a network that takes no clicks.

    Parameters
    ----------
    model, spec
        The network, and its row in the catalog.
    parts
        What is learned from, and what is held out.
    settings
        What the user wants.

    Raises
    ------
    ValueError
        When the labels are not such as the network can learn.
    """
    kind = ClassLessons if spec.way == "classes" else ClickLessons
    return kind(model, spec, parts, settings)
