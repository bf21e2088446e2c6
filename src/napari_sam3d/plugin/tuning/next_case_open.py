"""A volume of a folder that is open: its layers, what was drawn on it, and its file of labels."""

from __future__ import annotations

import zlib
from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Image
from scipy.ndimage import find_objects

from napari_sam3d.io import nifti_stem
from napari_sam3d.io.label_names import count_labels
from napari_sam3d.io.pairs import read_pair
from napari_sam3d.plugin.files import background
from napari_sam3d.plugin.files.export import Export
from napari_sam3d.plugin.files.opening import open_files
from napari_sam3d.plugin.session.names import colors_of
from napari_sam3d.plugin.session.objects import OBJECTS, Found, Object
from napari_sam3d.plugin.tuning.next_case_classes import relabelled
from napari_sam3d.prompts import Prompts, Said

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Labels, Layer
    from qtpy.QtWidgets import QWidget

    from napari_sam3d.labelled import Pair, PairFiles
    from napari_sam3d.plugin.segment_widget import SegmentWidget


class OpenCase:
    """A volume in the viewer and in its Segment dock.

    Parameters
    ----------
    viewer, dock
        Where it is.
    files
        Its image, and where its labels go.
    layers
        All that was opened of it, the image first.
    """

    def __init__(
        self, viewer: ViewerModel, dock: SegmentWidget, files: PairFiles, layers: Sequence[Layer]
    ) -> None:
        self.files = files
        self.dock = dock
        self._viewer, self._layers = viewer, list(layers)
        self.image = layers[0]
        _, self._volume = dock.session.require_image()
        self._labels: Labels | None = None
        self._clean = self._checksum()

    @classmethod
    def open(
        cls, viewer: ViewerModel, dock: SegmentWidget, files: PairFiles, parent: QWidget
    ) -> OpenCase | None:
        """Open a volume and give it to the dock; None when it cannot be read, which was said then.

        Raises
        ------
        ValueError
            With one sentence, when it is nothing to learn from.
        """
        layers = open_files(viewer, [str(files.image)], parent)
        if not layers:
            return None
        try:
            image = layers[0]
            if not isinstance(image, Image):
                raise ValueError(f"{files.image.name} holds labels, no image; leave it out.")
            if image.ndim != 3 or image.rgb:
                raise ValueError(
                    f"{files.image.name} is no single volume with one value per voxel, which is "
                    "what training takes; leave it out."
                )
            dock.image.choose(image)
        except ValueError:
            for layer in layers:
                viewer.layers.remove(layer)
            raise
        return cls(viewer, dock, files, layers)

    @property
    def name(self) -> str:
        """What messages call it."""
        return nifti_stem(self.files.image.name)

    @property
    def here(self) -> bool:
        """Whether its image is still in the viewer."""
        return self.image in self._viewer.layers

    @property
    def labels(self) -> Labels | None:
        """What was drawn on it, also while the dock is at another image."""
        session = self.dock.session
        if session.image is self.image and session.labels is not None:
            self._labels = session.labels
        return self._labels

    @property
    def changed(self) -> bool:
        """Whether there is something that would be lost."""
        labels = self.labels
        lost = labels is None or labels not in self._viewer.layers
        return not lost and self._checksum() != self._clean

    @property
    def busy(self) -> bool:
        """Whether a mask is still being computed."""
        return self.dock.session.image is self.image and self.dock.runner.busy

    def settle(self) -> None:
        """What there is now is not the user's work, or is saved."""
        self._clean = self._checksum()

    def settle_found(self) -> None:
        """The same, unless the user has begun to work already."""
        session = self.dock.session
        untouched = all(it.untouched for it in session.objects.values() if it.prompts.begun)
        if session.image is self.image and untouched and not session.hand.edits.done:
            self.settle()

    def objects(self) -> dict[int, str]:
        """What each object that has a voxel is, by number; empty where nobody has said."""
        labels = self.labels
        if labels is None:
            return {}
        known: Mapping[int, Object] = labels.metadata.get(OBJECTS) or {}
        nobody = Object()
        found = (known.get(number, nobody) for number in count_labels(labels.data))
        named = (it.category or it.name for it in found)
        return dict(zip(count_labels(labels.data), named, strict=True))

    def show_labels(self) -> None:
        """Make objects of the labels that its file has; ValueError when they do not fit."""
        pair = background.run(_read(self.files), f"Reading {self.files.labels.name}")
        if tuple(pair.labels.shape) != self._volume.grid.shape:
            raise ValueError(
                f"{self.files.labels.name} has shape {tuple(pair.labels.shape)}, its image "
                f"{self._volume.grid.shape} (z, y, x); it is left as it is."
            )
        labels = np.asarray(pair.labels).astype(int)
        session = self.dock.session
        for value, window in enumerate(find_objects(labels), 1):
            if window is not None:
                name = pair.names.get(value, "")
                start = Found("", name, labels[window] == value, window)
                it = Object(Prompts(start=start, past=(Said(),)), name=name)
                (number,) = session.add_objects({value: it}).values()
                session.show(number, start)
        self.settle()

    def save(self, values: Mapping[int, int], names: Mapping[int, str]) -> tuple[Pair, list[str]]:
        """Write the labels, and read the pair as it is now in its files.

        Parameters
        ----------
        values
            What the value of each object becomes.
        names
            What these values are called.

        Returns
        -------
        tuple
            The pair, and sentences about what the user should know.

        Raises
        ------
        ValueError, OSError
            With one sentence, when nothing was written.
        Cancelled
            When the user gave up.
        """
        labels = self.labels
        assert labels is not None
        own = colors_of({"colormap": labels.colormap})
        export = Export(
            self.files.labels,
            relabelled(np.asarray(labels.data), values),
            self._volume.grid,
            self._volume.source,
            titles=names,
            colors=lambda _: {values[number]: rgba for number, rgba in own(values).items()},
        )
        self.files.labels.parent.mkdir(exist_ok=True)
        pair, notes = background.run(_write(export, self.files), f"Saving {export.path.name}")
        self.settle()
        if self.dock.session.image is self.image:
            self.dock.keeper.autosave.forget()
        return pair, list(notes)

    def close(self) -> None:
        """Take its layers out of the viewer."""
        labels = self.labels
        if self.dock.session.image is self.image:
            self.dock.image.choose(None)
        for layer in (labels, *self._layers):
            if layer is not None and layer in self._viewer.layers:
                self._viewer.layers.remove(layer)

    def _checksum(self) -> int:
        labels = self.labels
        data = np.zeros(0, np.uint8) if labels is None else np.ascontiguousarray(labels.data)
        return zlib.crc32(data.data) if data.any() else 0


def _read(files: PairFiles) -> Generator[float, None, Pair]:
    yield 0.0
    return read_pair(files)


def _write(
    export: Export, files: PairFiles
) -> Generator[float, None, tuple[Pair, tuple[str, ...]]]:
    yield 0.0
    path, notes = export.write()
    yield 0.5
    return read_pair(replace(files, labels=path)), notes
