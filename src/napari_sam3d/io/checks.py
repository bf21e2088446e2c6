"""Is this file worth opening? What is on disk, and whether memory holds what it claims."""

from __future__ import annotations

from pathlib import Path

import psutil

from napari_sam3d.io.errors import NiftiError, TooLarge

_DEFLATE_LIMIT = 1032  # deflate cannot pack more than this many bytes into one
_LARGE = 0.25  # of the free memory; more is read only when the user wants it
_TOO_LARGE = 0.8
_BOMB_BYTES, _BOMB_RATIO = 1 << 30, 200  # few images of such a size pack so well


def halves(path: Path) -> tuple[Path, Path]:
    """The files with the header and with the voxels: the same one, but for a .hdr/.img pair.

    Raises
    ------
    NiftiError
        When one of them is not a file that can be read.
    """
    name = path.name.lower()
    ending = next((e for e in (".hdr", ".img", ".hdr.gz", ".img.gz") if name.endswith(e)), None)
    if ending is None:
        _check_file(path, path.name)
        return path, path
    _check_file(path, path.name)
    stem = path.name[: -len(ending)]
    other = ".img" if ".hdr" in ending else ".hdr"
    for candidate in (f"{stem}{e}" for e in (other, other.upper(), f"{other}.gz")):
        if (path.parent / candidate).is_file():
            partner = path.parent / candidate
            _check_file(partner, candidate)
            return (path, partner) if other == ".img" else (partner, path)
    raise NiftiError(
        f"{path.name} is one half of a pair and its other half, {stem}{other}, is missing; "
        "put both into one folder."
    )


def _check_file(path: Path, name: str) -> None:
    if path.is_dir():
        raise NiftiError(f"{name} is a folder, not a NIfTI file; choose a file in it.")
    if not path.exists():
        raise NiftiError(f"{name} does not exist; check the path {path}.")
    if not path.is_file():
        raise NiftiError(f"{name} is not a regular file; choose a .nii or .nii.gz file.")
    if path.stat().st_size == 0:
        raise NiftiError(f"{name} is empty; copy the file again.")


def check_size(name: str, size: int, needed: int, zipped: bool) -> None:
    """Compare what the header claims with the size of the file, before allocating."""
    if zipped and needed > _DEFLATE_LIMIT * size + 1024:
        raise NiftiError(
            f"{name} is damaged: its header claims {_count(needed)} bytes, which cannot fit into "
            f"{size} gzipped bytes; copy the file again."
        )
    if not zipped and needed > size:
        raise NiftiError(
            f"{name} is cut off: its header claims {_count(needed)} bytes, the file has {size}; "
            "copy the file again."
        )


def _count(n: int) -> str:
    return str(n) if n < 10**15 else f"{n:.3g}"


def is_large(needed: int) -> bool:
    """Whether so many bytes are better left on disk."""
    return needed > _LARGE * psutil.virtual_memory().available


def check_memory(name: str, size: int, needed: int, allow_large: bool) -> None:
    """Refuse what memory does not hold; what it hardly holds, unless that is allowed.

    Parameters
    ----------
    name
        What messages call the file.
    size, needed
        Bytes on disk and in memory.
    allow_large
        Whether most of the memory may be taken.

    Raises
    ------
    TooLarge
        With whether `allow_large` would help.
    """
    free = psutil.virtual_memory().available
    says = f"{name} needs {needed / 1e9:.1f} GB of memory and {free / 1e9:.1f} GB are free"
    if needed > _TOO_LARGE * free:
        raise TooLarge(f"{says}; close other programs, or unpack it to .nii.", readable=False)
    if allow_large:
        return
    if needed > _LARGE * free:
        raise TooLarge(f"{says}; read it all the same, or unpack it to .nii, which stays on disk.")
    if needed > _BOMB_BYTES and needed > _BOMB_RATIO * size:
        raise TooLarge(
            f"{name} has {size / 1e6:.0f} MB and would fill {needed / 1e9:.1f} GB of memory, which "
            "few real files do; read it all the same if you know where it comes from."
        )
