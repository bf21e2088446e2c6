"""One case from its files to its mask, in whichever process."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from napari_sam3d.catalog import model_spec
from napari_sam3d.engine.batch.ledger import Ledger
from napari_sam3d.engine.batch.outcome import Outcome
from napari_sam3d.engine.batch.task import Task
from napari_sam3d.io.prompt_file import read_prompts
from napari_sam3d.io.prompt_rows import ObjectPrompts
from napari_sam3d.io.read import read_nifti
from napari_sam3d.io.write import write_labels
from napari_sam3d.prompts import Prompts
from napari_sam3d.settings import InferenceSettings
from napari_sam3d.takes import check_usable

_TURN = threading.Lock()  # a worker of a cluster may have several threads, and one model
_loaded: dict[InferenceSettings, Any] = {}


def segment_case(task: Task) -> Outcome:
    """Segment one case and write its mask, unless that was done before.

    The model stays loaded in the process for the next case. Whatever goes wrong is told by the
    `error` of what is returned.
    """
    ledger = Ledger(task.mask.parent)
    with _TURN:
        try:
            ledger.check(task)
            done = ledger.known(task)
            attempt = 0 if done is not None else ledger.attempt(task)
        except (ValueError, OSError) as error:
            return Outcome(task.case, error=sentence(error))
        if done is not None:
            return done
        if not attempt:
            lost = ledger.attempts(task)
            return Outcome(
                task.case,
                lost=lost,
                error=f"The process at work on it died twice ({', then '.join(lost)}), perhaps for "
                "lack of memory; try it with fewer workers.",
            )
        lost = ledger.attempts(task)[: attempt - 1]
        try:
            outcome = replace(_segment(task), lost=lost)
            ledger.keep(task, outcome)
            return outcome
        except Exception as error:  # the others go on, whatever it is
            return Outcome(task.case, lost=lost, error=sentence(error))
        finally:
            with suppress(ValueError, OSError):  # as where the folder has vanished
                ledger.release(task)


def load(settings: InferenceSettings, progress: Any = None) -> Any:
    """The predictor of these settings; it stays loaded until others are asked for."""
    from napari_sam3d.engine import predictor

    if settings not in _loaded:
        _loaded.clear()  # two may not fit into memory
        told = progress or (lambda done, total: None)
        _loaded[settings] = predictor.load_predictor(settings, told)
    return _loaded[settings]


def sentence(error: BaseException) -> str:
    """What went wrong, on one line."""
    from napari_sam3d.engine.memory import is_out_of_memory

    if is_out_of_memory(error):
        return "There is not enough memory for this case; use fewer workers, or the CPU."
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    else:
        text = " ".join(str(error).split())
    if isinstance(error, ValueError | OSError) and text:
        return text
    return f"{type(error).__name__}: {text}"


def _segment(task: Task) -> Outcome:
    """The mask of a case, written; its record is not."""
    from napari_sam3d.engine.adapter_facts import read_facts
    from napari_sam3d.engine.label_maps import classified, prompted, proposed, write_names
    from napari_sam3d.engine.places import adapter_path

    started = time.perf_counter()
    volume = read_nifti(task.image)
    warnings = list(volume.source.warnings) if volume.source is not None else []
    spec, said = model_spec(task.settings.model), _said(task, volume)
    loading = time.perf_counter()
    predictor = load(task.settings)
    loading = time.perf_counter() - loading
    if said:
        prompts = {it.id: Prompts(it.points, it.box, it.scribbles) for it in said}
        found = prompted(predictor, volume, prompts, {it.id: it.name for it in said})
    elif "automatic" in spec.prompts:
        found = classified(predictor, volume)
    else:
        found = proposed(predictor, volume, read_facts(adapter_path(task.settings.adapter)))
    # that it may be replaced was asked before the batch began
    write_labels(task.mask, found.labels, volume.grid, volume.source, overwrite=True)
    trouble = write_names(task.mask, found.objects)
    return Outcome(
        task.case,
        objects=found.objects,
        warnings=(*warnings, *found.missing, *([trouble] if trouble else [])),
        seconds=round(time.perf_counter() - started - loading, 3),
    )


def _said(task: Task, volume: Any) -> Sequence[ObjectPrompts]:
    """What the file of prompts says; ValueError when the model cannot use it."""
    if task.prompts is None:
        return ()
    said = read_prompts(task.prompts, volume)
    spec = model_spec(task.settings.model)
    boxes = [it.id for it in said if it.box is not None]
    check_usable(spec, {it.id: it.said.clicks for it in said}, boxes)
    for it in said:
        if it.id not in boxes and not any(point.positive for point in it.said.clicks):
            raise ValueError(
                f"{task.prompts.name} does not say where object {it.id} is: it has neither a "
                "point inside nor a box."
            )
    return said
