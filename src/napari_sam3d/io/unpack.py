"""A gzipped NIfTI file, unpacked to one that is read from disk as it is looked at."""

from __future__ import annotations

import shutil
from collections.abc import Generator
from pathlib import Path

from napari_sam3d.io.atomic import real_target, replacing
from napari_sam3d.io.checks import check_size
from napari_sam3d.io.errors import NiftiError
from napari_sam3d.io.header import layout, parse_header
from napari_sam3d.io.inflate import check_end, unzipped
from napari_sam3d.io.read import errors_as_sentences

_PIECE = 8 << 20


def unpack_steps(path: str | Path, target: str | Path) -> Generator[float, None, Path]:
    """Unpack a .nii.gz file, piece by piece; closing the generator leaves nothing behind.

    Parameters
    ----------
    path
        The gzipped file.
    target
        The .nii file to write; an existing one is replaced.

    Yields
    ------
    float
        The share that is done, 0 to 1.

    Returns
    -------
    Path
        The file that was written.

    Raises
    ------
    NiftiError
        When the file is no gzipped NIfTI file, or damaged; nothing is written then.
    OSError
        When the target cannot be written.
    """
    path, target = Path(path), real_target(target)
    with errors_as_sentences(path.name), path.open("rb") as file:
        stream = unzipped(file)
        if stream is file:
            raise NiftiError(f"{path.name} is not gzipped; open it as it is.")
        packed = layout(parse_header(stream, path.name, False, []), path.name, [])
        total = packed.offset + packed.nbytes
        check_size(path.name, path.stat().st_size, total, zipped=True)
    free = shutil.disk_usage(target.parent).free
    if total > free:
        raise NiftiError(
            f"{path.name} unpacks to {total / 1e9:.1f} GB and {free / 1e9:.1f} GB are free on the "
            "disk; choose another folder."
        )
    with replacing(target) as out, path.open("rb") as file:
        stream = unzipped(file)
        done = 0
        while done < total:
            with errors_as_sentences(path.name):
                piece = stream.read(min(_PIECE, total - done))
                if not piece:
                    raise EOFError
            out.write(piece)
            done += len(piece)
            yield done / total
        with errors_as_sentences(path.name):
            check_end(stream, path.name, [])
    return target
