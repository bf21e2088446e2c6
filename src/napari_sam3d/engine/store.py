"""Files of weights that the user brings: recognised, tried, and kept for the catalog's rows."""

from __future__ import annotations

import re
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path

from napari_sam3d.catalog import MODELS, ModelSpec, model_spec
from napari_sam3d.engine.checkpoints import Checkpoint, read_checkpoint
from napari_sam3d.engine.fetch import Progress
from napari_sam3d.engine.places import base_of, weights_file
from napari_sam3d.engine.releases import (
    Parts,
    build,
    read_parts,
    sam_size,
    save_adapters,
    save_parts,
)
from napari_sam3d.engine.weights import file_sum, rows_of, weights_path
from napari_sam3d.io.atomic import real_target, replacing

_ADAPTERS = "image_encoder.FacTu.weight"  # of MA-SAM, which belong on a SAM file
# raised within a network that is built with sizes read from odd shapes
_MISFITS = (
    *(ArithmeticError, AssertionError, AttributeError),
    *(LookupError, RuntimeError, TypeError),
)
_KINDS = {
    "sam_med3d": "SAM-Med3D",
    "sam3d_adapter": "3DSAM-adapter",
    "sam3d_adapter_auto": "3DSAM-adapter without clicks",
    "ma_sam": "MA-SAM",
    "sam": "SAM",
    "compact": "compact",
}


@dataclass(frozen=True)
class Kept:
    """Weights that were written.

    Parameters
    ----------
    kind
        The family, as its authors call it.
    name
        The row of the catalog; empty when they were only converted.
    path
        Where they are now.
    before, after
        Bytes of the file that was brought, and of `path`.
    sha256
        Of the file that was brought.
    """

    kind: str
    name: str
    path: Path
    before: int
    after: int
    sha256: str


class Unclear(ValueError):
    """Nothing tells which of the rows `names` a file belongs to."""

    def __init__(self, sentence: str, names: list[str]) -> None:
        super().__init__(sentence)
        self.names = names


@dataclass(frozen=True, eq=False)
class _Brought:
    """A file that the network of its family took without a word."""

    path: Path
    parts: Parts
    sha256: str
    adapters: Checkpoint | None
    base: Path | None


def add(
    path: Path,
    name: str | None = None,
    base: Path | None = None,
    progress: Progress = lambda done, total: None,
) -> Kept:
    """Keep a file of weights where `load_model` finds it; nothing is kept of one that is wrong.

    Parameters
    ----------
    path
        A released file, or one that `convert` wrote, whatever it is called.
    name
        The row of the catalog, when neither checksum nor name tell it.
    base
        The SAM file under adapters, when it is not one of the catalog's.
    progress
        Told how far the download of that SAM file is, when there has to be one.

    Raises
    ------
    ValueError
        With one sentence that names the file and what is wrong with it.
    OSError
        When it cannot be kept, or the SAM file cannot be had.
    """
    brought = _bring(path, base, progress)
    spec = choose_row(path, brought.parts, brought.sha256, name)
    target = weights_file(spec)
    if spec.weights.url is None:
        _write(brought, target)
    elif not (target.exists() and target.samefile(path)):
        target.parent.mkdir(parents=True, exist_ok=True)
        with path.open("rb") as source, replacing(real_target(target)) as copy:
            shutil.copyfileobj(source, copy, 1 << 20)
        target.with_name(f"{target.name}.part").unlink(missing_ok=True)
    return _kept(brought, target, spec.name)


def convert(
    path: Path,
    out: Path,
    base: Path | None = None,
    progress: Progress = lambda done, total: None,
) -> Kept:
    """Write the tensors of a file alone, as safetensors; a file at `out` is replaced.

    Parameters
    ----------
    path, base, progress
        As for `add`.
    out
        Ends in .safetensors.

    Raises
    ------
    ValueError
        With one sentence that names the file and what is wrong with it.
    OSError
        When `out` cannot be written, or the SAM file cannot be had.
    """
    brought = _bring(path, base, progress)
    _write(brought, out)
    return _kept(brought, out, "")


def choose_row(path: Path, parts: Parts, sha256: str, name: str | None = None) -> ModelSpec:
    """The row of the catalog that a file belongs to.

    Its checksum counts first, then `name`, then words in the names of the file and its folders.

    Raises
    ------
    ValueError
        With the candidates, when nothing tells, and when `name` is of another kind.
    """
    published = [spec for spec in MODELS.values() if spec.weights.sha256 == sha256]
    if published:
        if name not in (None, published[0].name):
            raise ValueError(
                f"{path.name} is the published file of {published[0].name}, not of {name}."
            )
        return published[0]
    rows = [spec for spec in rows_of(parts.family) if not spec.weights.shipped]
    free = [spec for spec in rows if spec.weights.url is None]
    what = f"{path.name} is a {_KINDS[parts.family]}"
    if name is not None:
        chosen = model_spec(name)
        if chosen not in rows:
            known = f"it can be {_list(free or rows)}" if rows else "it cannot be added"
            raise ValueError(f"{what}, which {name} is not; {known}.")
        if chosen in free:
            return chosen
        free = []
    if not free:
        like = f"the published file of {name or _list(rows)}" if rows else "to be added"
        raise ValueError(f"{what}, but not {like}: its SHA-256 is {sha256}.{_fetching(rows)}")
    # the release of MA-SAM tells by its classes, too
    fitting = [s for s in free if len(s.classes) == parts.sizes.get("classes", len(s.classes))]
    for part in reversed(path.absolute().parts):
        named = [spec for spec in fitting if _is_named(spec, part)]
        if len(named) == 1 and named[0].weights.sha256 is None:
            return named[0]
        if named:
            break
    size = _size_of_sam(path, parts)
    if size is not None:
        raise Unclear(
            f"{what} with the shapes of {size}, but not its published file: its SHA-256 is "
            f"{sha256}. `napari-sam3d models fetch {size}` downloads that one; if this is a "
            "MedSAM, add it with --as medsam.",
            [spec.name for spec in free],
        )
    raise Unclear(
        f"{what}, but nothing tells which; add it with --as NAME, one of {_list(fitting or free)}.",
        [spec.name for spec in fitting or free],
    )


def _bring(path: Path, base: Path | None, progress: Progress) -> _Brought:
    """Read a file and put it into its network, which shows whether it is whole."""
    checkpoint = read_checkpoint(path)
    _check_records(path)
    adapters = checkpoint if _ADAPTERS in checkpoint else None
    if adapters is None and base is not None:
        raise ValueError(f"{path.name} is no MA-SAM; only its adapters belong on a --base.")
    own_base = None
    if adapters is not None:
        own_base = base or base_of(path)
        sam = own_base or weights_path(model_spec(sam_size(adapters, path.name)), progress)
        if not sam.is_file():
            raise ValueError(f"The SAM file {sam} of {path.name} is missing; name it with --base.")
    else:
        sam = None
    try:
        parts = read_parts(path, sam)
        build(parts, path.name)
    except _MISFITS as error:
        reason = (str(error) or type(error).__name__).splitlines()[0][:200]
        raise ValueError(f"The tensors of {path.name} fit no network: {reason}") from error
    return _Brought(path, parts, file_sum(path), adapters, own_base)


def _check_records(path: Path) -> None:
    """ValueError when a record of a .pth file is not what was written; torch does not look."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as file:
        wrong = file.testzip()
        if wrong is not None and file.getinfo(wrong).CRC != 0:  # 0: saved without
            raise ValueError(
                f"{path.name} is damaged: its record {wrong} has another checksum than when it "
                "was written; get the file again."
            )


def _write(brought: _Brought, target: Path) -> None:
    name = brought.path.name
    if brought.adapters is None:
        save_parts(brought.parts, target, name, brought.sha256)
    else:
        save_adapters(brought.adapters, target, name, brought.base, brought.sha256)


def _kept(brought: _Brought, target: Path, name: str) -> Kept:
    kind = _KINDS[brought.parts.family]
    before, after = brought.path.stat().st_size, target.stat().st_size
    return Kept(kind, name, target, before, after, brought.sha256)


def _size_of_sam(path: Path, parts: Parts) -> str | None:
    """The row with a SAM of the same size; None for other families and sizes."""
    if parts.family != "sam":
        return None
    try:
        return sam_size(parts.tensors, path.name)
    except ValueError:
        return None


def _is_named(spec: ModelSpec, part: str) -> bool:
    """Whether a name of a file or folder says the task of a row: kits, lits, btcv and so on."""
    task = re.escape(spec.name.removeprefix(spec.family).strip("_"))
    return re.search(rf"(?<![a-z]){task}(?![a-z])", part.lower()) is not None


def _list(rows: list[ModelSpec]) -> str:
    return " or ".join(", ".join(spec.name for spec in rows).rsplit(", ", 1))


def _fetching(rows: list[ModelSpec]) -> str:
    return " `napari-sam3d models fetch NAME` downloads what is published." if rows else ""
