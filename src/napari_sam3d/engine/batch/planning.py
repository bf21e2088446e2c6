"""Which images a batch has, what is said about each, and where its mask goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from napari_sam3d.catalog import model_spec
from napari_sam3d.engine.adapter_facts import read_facts, refusal
from napari_sam3d.engine.batch.task import Task
from napari_sam3d.engine.places import adapter_path, known_sum
from napari_sam3d.io.pairs import find_images
from napari_sam3d.io.read import is_nifti_name, nifti_stem
from napari_sam3d.io.stamps import stamp_of
from napari_sam3d.settings import InferenceSettings

ENDINGS = ("_prompts.json", "_seg_prompts.json")
"""What the Segment dock puts behind the name of an image, or of its mask, to save prompts."""


@dataclass(frozen=True)
class Plan:
    """All that a batch is to do.

    Parameters
    ----------
    tasks
        A case each; their `batch` is not yet known.
    left_out
        Images about which nothing is said.
    config
        What the masks depend on beside images and prompts.
    """

    tasks: tuple[Task, ...]
    left_out: tuple[Path, ...]
    config: dict[str, Any]


def plan(
    images: Sequence[Path], output: Path, prompts: Path | None, settings: InferenceSettings
) -> Plan:
    """What is to be done; nothing is written.

    Parameters
    ----------
    images
        Files, or folders whose images are taken without label maps and further channels.
    output
        The folder of the masks.
    prompts
        A file of prompts for all images, or a folder with one for each. When None, a model that
        needs no prompts and an adapter that proposes do without; for others, files of prompts lie
        beside the images.
    settings
        How.

    Raises
    ------
    ValueError
        With one sentence: no image, two of one name, nothing said about any.
    """
    output = output.resolve()
    settings, config = _fixed(settings)
    silent = prompts is None and finds_by_itself(settings)
    tasks, left_out = [], []
    for image in _files(images, output):
        said = None if silent else _prompts_of(image, prompts)
        if said is None and not silent:
            left_out.append(image)
            continue
        mask, stamp = _mask(image, output), stamp_of(image, said)
        tasks.append(Task(nifti_stem(image.name), image, said, mask, settings, stamp))
    if not tasks:
        where = f"in {prompts}" if prompts is not None else "beside them"
        raise ValueError(
            f"There are no prompts for any of the {len(left_out)} images: {where} should be files "
            f"such as {nifti_stem(left_out[0].name)}{ENDINGS[0]}, as the Segment dock saves them."
        )
    _check_names(tasks)
    return Plan(tuple(tasks), tuple(left_out), config)


def finds_by_itself(settings: InferenceSettings) -> bool:
    """Whether no prompt is needed: the model takes none, or the adapter proposes."""
    if "automatic" in model_spec(settings.model).prompts:
        return True
    return bool(settings.adapter) and not refusal(read_facts(adapter_path(settings.adapter)))


def _fixed(settings: InferenceSettings) -> tuple[InferenceSettings, dict[str, Any]]:
    """The settings with the adapter's path, and what the masks depend on."""
    from napari_sam3d.engine.weights import file_sum

    spec = model_spec(settings.model)
    config = {**asdict(settings), "weights": known_sum(spec) or ""}
    del config["device"]  # where it runs
    if settings.adapter:
        path = adapter_path(settings.adapter).resolve()
        settings = replace(settings, adapter=str(path))
        config["adapter"] = file_sum(path)
    return settings, config


def _mask(image: Path, output: Path) -> Path:
    return output / f"{nifti_stem(image.name)}_seg.nii.gz"


def _files(images: Sequence[Path], output: Path) -> list[Path]:
    found: list[Path] = []
    for path in images:
        if path.is_dir():
            there = [it.image for it in find_images(path)]
            ours = {_mask(image, output) for image in there}  # where images and masks share it
            found += [image for image in there if image.resolve() not in ours]
        elif not path.exists():
            raise ValueError(f"There is no file or folder {path}.")
        elif not is_nifti_name(path.name):
            raise ValueError(f"{path} is no NIfTI image: its name must end in .nii or .nii.gz.")
        else:
            found.append(path)
    if not found:
        raise ValueError("Name a folder with NIfTI images, or such images.")
    return list(dict.fromkeys(path.absolute() for path in found))


def _prompts_of(image: Path, prompts: Path | None) -> Path | None:
    """The file of prompts of an image, when there is one."""
    if prompts is not None and prompts.is_file():
        return prompts.absolute()
    if prompts is not None and not prompts.is_dir():
        raise ValueError(f"There is no file or folder of prompts {prompts}.")
    folder, stem = (prompts or image.parent).absolute(), nifti_stem(image.name)
    endings = ENDINGS if prompts is None else (*ENDINGS, ".json")
    named = (folder / f"{stem}{ending}" for ending in endings)
    return next((path for path in named if path.is_file()), None)


def _check_names(tasks: Sequence[Task]) -> None:
    """ValueError when two masks would be one file, or a mask would replace an image."""
    images = {task.image.resolve(): task.image for task in tasks}
    named: dict[str, Task] = {}
    for task in tasks:
        other = named.setdefault(task.case.casefold(), task)
        if other is not task:
            raise ValueError(
                f"{other.image} and {task.image} would both become {task.mask.name}; segment them "
                "into two folders."
            )
        if task.mask.resolve() in images:
            raise ValueError(
                f"The mask of {task.image.name} would replace the image {task.mask}; choose "
                "another folder with --output."
            )
