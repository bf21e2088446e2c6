"""What the dock says of each model: what it takes, and whether its weights are here."""

from __future__ import annotations

from enum import Enum

from safetensors import SafetensorError

from napari_sam3d.catalog import ModelSpec, model_spec
from napari_sam3d.engine.places import base_of, is_here, weights_file
from napari_sam3d.prompts import Said


class Where(Enum):
    """Where the weights of a model are."""

    BUILT_IN = "built in"
    HERE = "on this computer"
    DOWNLOAD = "to be downloaded"
    ADD = "to be added"


def where(spec: ModelSpec) -> Where:
    """Where the weights are now, those that they build on included."""
    if spec.weights.shipped:
        return Where.BUILT_IN
    if not is_here(spec):
        return Where.ADD if spec.weights.url is None else Where.DOWNLOAD
    base = _base(spec)
    return Where.HERE if base is None else where(base)


def is_ready(spec: ModelSpec) -> bool:
    """Whether the model can be loaded without a download."""
    return where(spec) in (Where.BUILT_IN, Where.HERE)


def takes_clicks(spec: ModelSpec) -> bool:
    """Whether points mean something to the model."""
    return "foreground" in spec.prompts


def is_automatic(spec: ModelSpec) -> bool:
    """Whether it finds its classes without a prompt."""
    return "automatic" in spec.prompts


def entry(spec: ModelSpec) -> str:
    """The model in a list, with where its weights are."""
    found = where(spec)
    if found is Where.DOWNLOAD:
        size = _download(spec)
        return f"{spec.name}  ·  {f'{size} to download' if size else found.value}"
    return f"{spec.name}  ·  {'weights to be added' if found is Where.ADD else found.value}"


def describe(spec: ModelSpec) -> str:
    """What it is, what it takes and how it gets its weights, in short sentences."""
    title = spec.title[:1].upper() + spec.title[1:]
    found = where(spec)
    if found is Where.DOWNLOAD:
        begins = "first click" if takes_clicks(spec) else "first Segment"
        size = _download(spec)
        weights = f"Its weights are downloaded at the {begins}{f' ({size})' if size else ''}."
    elif found is Where.ADD:
        weights = obstacle(spec)
    else:
        weights = f"Its weights are {found.value}."
    return f"{title}. {_takes(spec)} {weights}"


def obstacle(spec: ModelSpec) -> str:
    """Why a model computes nothing now: the user has to get its weights; else empty."""
    if where(spec) is not Where.ADD:
        return ""
    return (
        f"{spec.name} needs a file of weights: get it from {spec.weights.page} and choose "
        "Add weights..."
    )


def no_clicks(spec: ModelSpec) -> str:
    """Why a click means nothing to a model; empty when it does."""
    if takes_clicks(spec):
        return ""
    if is_automatic(spec):
        return f"{spec.name} needs no clicks: press Segment."
    return f"{spec.name} takes a box and no clicks: choose the tool Box and draw one."


def no_box(spec: ModelSpec) -> str:
    """Why a box means nothing to a model; empty when it does."""
    if "box" in spec.prompts:
        return ""
    return f"{spec.name} takes no box: {'use points.' if takes_clicks(spec) else 'press Segment.'}"


def can_answer(spec: ModelSpec, said: Said) -> bool:
    """Whether these are prompts that a model may be asked about."""
    return takes_clicks(spec) or (said.box is not None and "box" in spec.prompts)


def _takes(spec: ModelSpec) -> str:
    if is_automatic(spec):
        n = len(spec.classes)
        found = spec.classes[0] if n == 1 else f"all {n}"
        return f"Segment finds {found} in the whole image."
    if not takes_clicks(spec):
        return "Takes a box and no points."
    kinds = "positive and negative points" if "background" in spec.prompts else "positive points"
    return f"Takes {kinds}, or a box." if "box" in spec.prompts else f"Takes {kinds}."


def _download(spec: ModelSpec) -> str:
    """How much is to be downloaded; empty when nobody knows."""
    base = _base(spec) if is_here(spec) else None
    size = (base or spec).weights.size
    return "" if size is None else f"{size / 1e6:.0f} MB"


def _base(spec: ModelSpec) -> ModelSpec | None:
    """The model that weights build on, unless its file was named when they were added."""
    if spec.weights.base is None:
        return None
    try:
        named = base_of(weights_file(spec))
    except (OSError, SafetensorError):
        return None  # loading it says what is wrong
    return None if named else model_spec(spec.weights.base)
