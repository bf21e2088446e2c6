"""Reading NIfTI files, checked before a voxel is touched."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
from nibabel import Nifti1Header as Header  # which Nifti2Header is a kind of

from napari_sam3d.io.affine import display_view
from napari_sam3d.io.checks import check_memory, check_size, halves, is_large
from napari_sam3d.io.errors import NiftiError
from napari_sam3d.io.header import Layout, layout, parse_header, read_extensions
from napari_sam3d.io.inflate import check_end, numbers_of, skip, unzipped
from napari_sam3d.io.labels import is_labels, says_labels
from napari_sam3d.io.lazy import lazy
from napari_sam3d.io.source import NiftiSource, describe
from napari_sam3d.io.values import Values, values_of
from napari_sam3d.volume import Volume

_ENDING = re.compile(r"\.(nii|hdr|img)(\.gz)?\Z", re.IGNORECASE | re.ASCII)
_SECONDS_PER_UNIT = {16: 1e-3, 24: 1e-6}
_PIECE = 1 << 20  # numbers between two looks at whether to go on
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class NiftiImage:
    """What a NIfTI file shows.

    Parameters
    ----------
    data
        Display order: (z, y, x), before them components and time points if there are any, (c, t,
        z, y, x), behind them the colours if there are any. A read-only memory map, an array in
        memory, or a dask array of what does not fit there.
    source
        The file, as far as its three axes in space are concerned.
    name
        What messages call it.
    axes
        Letters of the axes before the three in space: "T", "C" or "CT".
    rgb
        Whether the last axis holds three or four colours, uint8.
    time_step
        Seconds between time points; None when there is but one.
    """

    data: Any
    source: NiftiSource
    name: str
    axes: str = ""
    rgb: bool = False
    time_step: float | None = None

    def volume(self, frame: int | None = None) -> Volume:
        """The image, or one time point of it, as a volume.

        Raises
        ------
        NiftiError
            When it is in colour, or has several time points or components and `frame` does not
            say which.
        """
        if self.rgb:
            raise NiftiError(f"{self.name} is a colour image; convert it to grey values.")
        data = self.data
        if len(self.axes) > 1:
            raise NiftiError(
                f"{self.name} has time points and components; save one of the components to a "
                "file of its own."
            )
        if self.axes:
            what = {"T": "time points", "C": "components"}[self.axes]
            if frame is None or not 0 <= frame < len(data):
                raise NiftiError(
                    f"{self.name} has {len(data)} {what}; choose one of them, 0 to {len(data) - 1}."
                )
            data = data[frame]
        elif frame:
            raise NiftiError(f"{self.name} has a single time point, which has the number 0.")
        return Volume(data, self.source.grid, self.name, self.source)


def read_nifti(path: str | Path, frame: int | None = None) -> Volume:
    """Read a three-dimensional NIfTI image, or one time point of a series.

    The data is a view (inferior, posterior, left) of the stored array: of a read-only memory
    map for `.nii`, of memory for `.nii.gz`; a dask array of scaled values that would fill the
    memory. Values with a scaling become float32 (float64 where that is too small); others keep
    their dtype.

    Parameters
    ----------
    path
        NIfTI-1 or NIfTI-2, plain or gzipped whatever the name says; of a .hdr/.img pair either.
    frame
        Number of the time point, from 0.

    Raises
    ------
    NiftiError
        With one sentence that names the file, what is wrong and what to do.
    """
    return open_nifti(path).volume(frame)


def open_nifti(path: str | Path, *, allow_large: bool = False) -> NiftiImage:
    """Read a NIfTI file of any kind; as `open_steps`, in one go."""
    return finish(open_steps(path, allow_large=allow_large))


def open_steps(
    path: str | Path, *, allow_large: bool = False
) -> Generator[float, None, NiftiImage]:
    """Read a NIfTI file of any kind, piece by piece.

    Closing the generator gives up. What takes more than a quarter of the free memory stays on
    disk as a memory map or dask array; a gzipped file cannot.

    Parameters
    ----------
    path
        As for `read_nifti`.
    allow_large
        Whether a gzipped file may take most of the memory.

    Yields
    ------
    float
        The share that has been read, 0 to 1.

    Returns
    -------
    NiftiImage
        What was read.

    Raises
    ------
    TooLarge
        When it is gzipped and would take much of the memory.
    NiftiError
        With one sentence that names the file, what is wrong and what to do.
    """
    path = Path(path)
    with errors_as_sentences(path.name):
        header_file, voxel_file = halves(path)
        pair = header_file != voxel_file
        warnings: list[str] = []
        with header_file.open("rb") as file:
            stream = unzipped(file)
            if (stream is not file) != header_file.name.lower().endswith(".gz"):
                warnings.append(f"It is {'not ' * (stream is file)}gzipped, unlike its name.")
            header = parse_header(stream, path.name, pair, warnings)
            packed = layout(header, path.name, warnings)
            extensions = read_extensions(stream, header, None if pair else packed.offset, warnings)
        source = describe(header, str(path.absolute()), extensions)
        values = values_of(packed, path.name, warnings)
        stored = yield from _read_voxels(voxel_file, packed, values, allow_large, warnings)
        data = display_view(stored, source.display_to_stored)
        if packed.colors > 1:  # they were behind all others, and are now before them
            data = np.moveaxis(data, 0, -1)
        image = NiftiImage(
            data=data,
            source=source,
            name=path.name,
            axes="".join(reversed(packed.axes)),
            rgb=packed.colors > 1,
            time_step=_time_step(header) if "T" in packed.axes else None,
        )
        if says_labels(source) and data.dtype.kind not in "iu" and not is_labels(image):
            warnings.append("It says that it is a label map, but not all values are whole numbers.")
        return replace(image, source=replace(source, warnings=(*warnings, *source.warnings)))


def finish(steps: Generator[object, None, T]) -> T:
    """What a generator returns, once it has run to its end."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return cast(T, stop.value)


def is_nifti_name(name: str) -> bool:
    """Whether a file name is one of NIfTI's: .nii or .hdr and .img, gzipped or not."""
    return nifti_stem(name) != name


def nifti_stem(name: str) -> str:
    """A file name without .nii, .nii.gz and the like."""
    return _ENDING.sub("", name)


def _read_voxels(
    path: Path, packed: Layout, values: Values, allow_large: bool, warnings: list[str]
) -> Generator[float, None, Any]:
    """Stored (i, j, k, ...), with the colours behind, of a file that has been looked at."""
    size, needed = path.stat().st_size, packed.count * values.dtype.itemsize
    with path.open("rb") as file:
        stream = unzipped(file)
        zipped = stream is not file
        check_size(path.name, size, packed.offset + packed.nbytes, zipped)
        if zipped:
            check_memory(path.name, size, needed, allow_large)
            skip(stream, packed.offset)
            take = numbers_of(stream, packed.dtype)
            flat = yield from _fill(packed, values, take)
            check_end(stream, path.name, warnings)
        else:
            mapped = np.memmap(path, packed.dtype, "r", packed.offset, (packed.count,))
            if values.convert is None and values.dtype == packed.dtype:
                flat = np.asarray(mapped)
            elif is_large(needed):
                return lazy(_shaped(np.asarray(mapped), packed), values)
            else:
                flat = yield from _fill(packed, values, lambda at, n: mapped[at : at + n])
    return _shaped(flat, packed)


def _fill(
    packed: Layout, values: Values, take: Callable[[int, int], np.ndarray]
) -> Generator[float, None, np.ndarray]:
    """All values, converted piece by piece; `take(at, n)` gives the numbers from `at` on."""
    flat = np.empty(packed.count, values.dtype)
    for at in range(0, packed.count, _PIECE):
        raw = take(at, min(_PIECE, packed.count - at))
        flat[at : at + len(raw)] = raw if values.convert is None else values.convert(raw)
        yield (at + len(raw)) / packed.count
    return flat


def _shaped(flat: np.ndarray, packed: Layout) -> np.ndarray:
    if packed.colors == 1:
        return flat.reshape(packed.shape, order="F")
    return np.moveaxis(flat.reshape((packed.colors, *packed.shape), order="F"), 0, -1)


def _time_step(header: Header) -> float:
    """Seconds between time points, 1 when the header does not say."""
    step = float(header["pixdim"][4]) * _SECONDS_PER_UNIT.get(int(header["xyzt_units"]) & 0x38, 1.0)
    return step if np.isfinite(step) and step > 0 else 1.0


@contextmanager
def errors_as_sentences(name: str) -> Iterator[None]:
    """Turn what Python raises about a file into a NiftiError."""
    try:
        yield
    except (gzip.BadGzipFile, zlib.error) as error:
        raise NiftiError(f"{name} is damaged ({error}); copy the file again.") from error
    except EOFError as error:
        raise NiftiError(
            f"{name} is cut off: the gzip data ends too early; copy the file again."
        ) from error
    except OSError as error:
        raise NiftiError(f"{name} cannot be read: {error.strerror or error}.") from error
    except MemoryError as error:
        raise NiftiError(f"{name} does not fit into memory; close other programs.") from error
