"""The table of labelled pairs that a model is tuned on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from napari_sam3d.io import nifti_stem
from napari_sam3d.labelled import Pair, PairFiles
from napari_sam3d.plugin.dock.object_cells import short
from napari_sam3d.plugin.dock.parts import button
from napari_sam3d.plugin.dock.tables import cell, low_table
from napari_sam3d.plugin.tuning.layer_pairs import Match, layer_stem
from napari_sam3d.plugin.tuning.pair_facts import Counting, Facts
from napari_sam3d.plugin.tuning.state_icons import state_icon

_STATE, _IMAGE, _LABELS, _OBJECTS, _SPACING, _VOXELS = range(6)
_LABELS_ROOM = "Labelsxx"  # wide enough for what tells them from their image
_ALIKE = 4  # characters from which on names begin alike
_MEANINGS = {
    "good": "Nothing is wrong with it",
    "warning": "It can be learned from; the checks below have a remark",
    "problem": "It cannot be learned from as it is; the checks below say why",
    "": "Not checked yet",
}


@dataclass(frozen=True, eq=False)
class Entry:
    """A row of the table.

    Parameters
    ----------
    pair
        What is learned from.
    match
        The layers that it was copied from; None for files.
    """

    pair: Pair
    match: Match | None = None


class PairTable(QWidget):
    """Labelled pairs: where they come from is asked for by signals, what is in them is shown.

    Layers are copied when they are added; what is painted later counts when they are added again.
    """

    changed = Signal()
    """Other pairs than before."""
    files_wanted = Signal(object)
    """Files (tuple of `PairFiles`) that are not read yet: all of them, each time."""
    layers_requested = Signal()
    folder_requested = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._entries: tuple[Entry, ...] = ()
        self._awaited: tuple[PairFiles, ...] = ()
        self._states: Mapping[str, str] = {}
        self._counting = Counting(self)
        self._counting.counted.connect(self._show)
        self.table = low_table(
            ("", "Whether it can be learned from"),
            ("Image", "The image: a layer, or a file"),
            ("Labels", "Its labels; of layers, as they were when they were added"),
            ("Obj.", "How many objects are labelled"),
            ("mm", "Size of a voxel in millimetres (z × y × x)"),
            ("Voxels", "How many voxels are labelled"),
            stretched=_IMAGE,
        )
        header = self.table.horizontalHeader()
        header.setSectionResizeMode(_LABELS, header.ResizeMode.Interactive)
        header.resizeSection(_LABELS, header.fontMetrics().horizontalAdvance(_LABELS_ROOM))
        self.table.setSelectionMode(self.table.SelectionMode.ExtendedSelection)
        self.table.setEditTriggers(self.table.EditTrigger.NoEditTriggers)
        self.table.setTextElideMode(Qt.TextElideMode.ElideLeft)  # names differ at their ends
        self.table.setToolTip("What the model learns from: images with labels of their objects")
        self.add_layers = button(
            "Add open layers",
            "Add the images of this window with the Labels layers that lie on them, as they are "
            "now",
        )
        self.add_folder = button(
            "Add folder...",
            "Add all pairs of a folder: imagesTr and labelsTr, or names such as x.nii.gz with "
            "x_seg.nii.gz",
        )
        self.remove = button("Remove", "Leave out the chosen rows; files and layers stay (Delete)")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.table)
        beside = QHBoxLayout()
        for press in (self.add_layers, self.add_folder, self.remove):
            beside.addWidget(press)
        layout.addLayout(beside)
        self.add_layers.clicked.connect(self.layers_requested)
        self.add_folder.clicked.connect(self.folder_requested)
        self.remove.clicked.connect(self._on_remove)
        self.table.delete_pressed.connect(self._on_remove)
        self.table.itemSelectionChanged.connect(self._show_remove)
        self._show()

    def value(self) -> tuple[Pair, ...]:
        """The pairs, in the order in which they were added."""
        return tuple(it.pair for it in self._entries)

    def entries(self) -> tuple[Entry, ...]:
        """The pairs with the layers that they come from."""
        return self._entries

    def set_value(self, pairs: Sequence[Pair]) -> None:
        """Show other pairs: mended ones go on belonging to their layers."""
        before = {it.pair.name: it.match for it in self._entries}
        self.set_entries([Entry(pair, before.get(pair.name)) for pair in pairs])

    def set_entries(self, entries: Sequence[Entry]) -> None:
        """Show what another table had."""
        self._entries = tuple(entries)
        self._show()
        self.changed.emit()

    def add_pair(self, pair: Pair, match: Match | None = None) -> None:
        """Add a pair, or put it in place of the one from the same layers or files.

        Of two pairs with one name the second one gets a number.
        """
        entry = Entry(pair, match)
        same = [it for it in self._entries if _is_same(it, entry)]
        if same:
            entry = replace(entry, pair=_named(pair, same[0].pair.name))
            entries = [entry if it is same[0] else it for it in self._entries]
        else:
            taken = {it.pair.name for it in self._entries}
            entries = [*self._entries, replace(entry, pair=_named(pair, _free(pair.name, taken)))]
        self.set_entries(entries)

    def add_files(self, files: Sequence[PairFiles]) -> None:
        """Add pairs of files, once they are read; those that are here are not read again."""
        known = {*(it.pair.files for it in self._entries), *self._awaited}
        new = tuple(it for it in dict.fromkeys(files) if it not in known)
        if new:
            self._awaited += new
            self.files_wanted.emit(self._awaited)

    @property
    def awaited(self) -> tuple[PairFiles, ...]:
        """Files that are being read."""
        return self._awaited

    def take_read(self, pairs: Sequence[Pair]) -> None:
        """Files were read."""
        arrived = {pair.files for pair in pairs}
        self._awaited = tuple(it for it in self._awaited if it not in arrived)
        for pair in pairs:
            self.add_pair(pair)

    def forget_awaited(self) -> None:
        """They cannot be read."""
        self._awaited = ()

    def set_states(self, states: Mapping[str, str]) -> None:
        """Show the outcome of the checks: "good", "warning" or "problem", by names of pairs."""
        self._states = states
        self._show()

    def close_counting(self) -> None:
        """End the thread that counts."""
        self._counting.close()

    def _show(self) -> None:
        self.table.setRowCount(len(self._entries))
        for line, it in enumerate(self._entries):
            pair, state = it.pair, self._states.get(it.pair.name, "")
            sign = cell(self.table, line, _STATE, "")
            if sign.data(Qt.ItemDataRole.UserRole) != state or sign.icon().isNull():
                sign.setIcon(state_icon(state))
                sign.setData(Qt.ItemDataRole.UserRole, state)
            sign.setToolTip(_MEANINGS[state])
            facts = self._counting.of(pair)
            texts = (
                (
                    _IMAGE,
                    layer_stem(nifti_stem(pair.name)),
                    str(pair.files.image) if pair.files else pair.name,
                ),
                (_LABELS, _short(_labels_name(it), nifti_stem(pair.name)), _labels_told(it)),
                (_OBJECTS, "…" if facts is None else str(facts.objects), _listed(pair, facts)),
                (_SPACING, _spacing(pair), ""),
                (_VOXELS, "…" if facts is None else _many(facts.voxels), _exactly(facts)),
            )
            for column, text, tooltip in texts:
                cell(self.table, line, column, text).setToolTip(tooltip or text)
        self._show_remove()

    def _show_remove(self) -> None:
        self.remove.setEnabled(bool(self.table.selectionModel().selectedRows()))

    def _on_remove(self) -> None:
        lines = {index.row() for index in self.table.selectionModel().selectedRows()}
        if lines:
            self.table.clearSelection()
            self.set_entries([it for n, it in enumerate(self._entries) if n not in lines])


def _is_same(one: Entry, other: Entry) -> bool:
    """Whether two rows come from the same place."""
    if one.match is not None and other.match is not None:
        return one.match.image is other.match.image and one.match.labels is other.match.labels
    return one.pair.files is not None and one.pair.files == other.pair.files


def _free(name: str, taken: set[str]) -> str:
    number, free = 2, name
    while free in taken:
        free, number = f"{name} ({number})", number + 1
    return free


def _named(pair: Pair, name: str) -> Pair:
    return pair if pair.name == name else replace(pair, volume=replace(pair.volume, name=name))


def _labels_name(entry: Entry) -> str:
    if entry.match is not None:
        return entry.match.labels.name
    return nifti_stem(entry.pair.files.labels.name) if entry.pair.files else "labels"


def _labels_told(entry: Entry) -> str:
    return str(entry.pair.files.labels) if entry.pair.files else _labels_name(entry)


def _short(labels: str, image: str) -> str:
    """What tells the labels from their image, such as _seg, where they are called alike."""
    alike = takewhile(lambda both: both[0] == both[1], zip(labels, image, strict=False))
    same = len(list(alike))
    return labels[same:] if same >= _ALIKE and same < len(labels) else labels


def _listed(pair: Pair, facts: Facts | None) -> str:
    """The objects by name."""
    if facts is None:
        return "They are being counted"
    return "\n".join(pair.names.get(label, f"label {label}") for label in [*facts.labels][:20])


def _exactly(facts: Facts | None) -> str:
    return "" if facts is None else f"{facts.voxels:,} voxels"


def _spacing(pair: Pair) -> str:
    """One number for cubes, three for other boxes."""
    edges = [f"{edge:.3g}" for edge in pair.volume.grid.spacing]
    return edges[0] if len(set(edges)) == 1 else "×".join(edges)


def _many(count: int) -> str:
    """About how many, in few characters."""
    for power, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= power:
            return f"{short(count / power)} {letter}"
    return str(count)
