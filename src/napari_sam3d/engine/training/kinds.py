"""Which kind of lessons suits a network."""

from __future__ import annotations

from dataclasses import replace

from napari_sam3d.catalog import ModelSpec
from napari_sam3d.engine.models.base import PromptableModel
from napari_sam3d.engine.training.cases import Split, objects_of, sizes_mm
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


def spec_for(spec: ModelSpec, parts: Split) -> ModelSpec:
    """The row of a network that is tuned: patches of any size begin at those of the objects."""
    if spec.way != "following":
        return spec
    objects = [it for case in parts.train for it in objects_of(case)]
    return replace(spec, object_mm=sizes_mm(objects))
