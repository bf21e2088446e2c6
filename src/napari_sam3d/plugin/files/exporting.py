"""The dialog "Save masks...": which layers, into which files, in which folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import napari
from napari.layers import Labels
from napari.utils.history import update_save_history
from napari.utils.notifications import show_error, show_info, show_warning
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QLineEdit,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_sam3d.plugin.files import background, questions
from napari_sam3d.plugin.files.asking import save_folder
from napari_sam3d.plugin.files.export import itksnap_path, listing
from napari_sam3d.plugin.files.save_plan import SavePlan, has_classes, prompts_of, suggest
from napari_sam3d.plugin.files.writer import write_all

if TYPE_CHECKING:
    from napari.components import ViewerModel

_LAYER, _FILE = 0, 1
_TICKED, _UNTICKED = Qt.CheckState.Checked, Qt.CheckState.Unchecked


def save_masks() -> None:
    """The command "Save masks..."."""
    viewer = napari.current_viewer()
    if viewer is not None:
        ask_and_save(viewer)


def ask_and_save(
    viewer: ViewerModel, chosen: Labels | None = None, parent: QWidget | None = None
) -> SaveDialog | None:
    """Open the dialog, or say why there is nothing to save.

    Parameters
    ----------
    viewer
        Its Labels layers are offered.
    chosen
        The layer that is ticked; the selected ones by default, or all.
    parent
        Window in front of which the dialog stands.
    """
    labels = [layer for layer in viewer.layers if isinstance(layer, Labels)]
    if not labels:
        show_error("There is no mask to save: it would be a Labels layer, and there is none.")
        return None
    ticked = [chosen] if chosen is not None else list(viewer.layers.selection)
    dialog = SaveDialog(viewer, labels, ticked, parent or background.main_window())
    dialog.open()
    return dialog


class SaveDialog(QDialog):
    """Shows what would be written while the user decides, and stays open when it fails.

    Parameters
    ----------
    viewer
        The images that masks lie on are looked for in it.
    labels
        The layers on offer, lowest first.
    ticked
        Those that are ticked; all when none of `labels` is among them.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        labels: Sequence[Labels],
        ticked: Sequence[object],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle("Save masks as NIfTI")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self._labels = list(labels)
        self._saving = False
        folder, names = suggest(self._labels, viewer.layers)
        marked = [layer in ticked for layer in self._labels]
        self.table = _table(self._labels, names, marked if any(marked) else [True] * len(names))
        self.combined = QCheckBox("One combined label map")
        self.combined.setToolTip(
            "All ticked layers in one file; where they overlap, the upper layer counts"
        )
        self.name = QLineEdit(_common(names))
        self.name.setToolTip("Name of the combined label map")
        self.folder = QLineEdit(str(folder or save_folder()))
        self.browse = QPushButton("Browse...")
        self.itksnap = QCheckBox("ITK-SNAP label description (.txt)")
        self.itksnap.setToolTip("Names and colours for ITK-SNAP's Import Label Descriptions")
        self.prompts = QCheckBox("Prompts (.json)")
        self.prompts.setToolTip("The points that the masks were made from, to go on another day")
        self.prompts.setVisible(any(prompts_of(layer) for layer in self._labels))
        self.classes = QCheckBox("One label for each class")
        self.classes.setToolTip("All objects of one class become one label, called like the class")
        self.classes.setVisible(any(has_classes(layer) for layer in self._labels))
        self.combined.setVisible(len(self._labels) > 1)
        self.name.setVisible(len(self._labels) > 1)
        self.summary = QLabel()
        self.summary.setTextFormat(Qt.TextFormat.PlainText)
        self.summary.setWordWrap(True)
        self.buttons = QDialogButtonBox(
            QDialogButtonBox.StandardButton.Save | QDialogButtonBox.StandardButton.Cancel
        )
        self.save = self.buttons.button(QDialogButtonBox.StandardButton.Save)
        self._lay_out()
        self._connect()
        self._show_plan()

    def plan(self) -> SavePlan:
        """What the dialog says now."""
        rows = [row for row in range(len(self._labels)) if self._is_ticked(row)]
        combined = self.combined.isChecked() and len(rows) > 1
        names = [self.table.item(row, _FILE).text() for row in rows]
        return SavePlan(
            layers=tuple(self._labels[row] for row in rows),
            names=(self.name.text(),) if combined else tuple(names),
            folder=Path(os.path.expanduser(self.folder.text().strip())),
            combined=combined,
            itksnap=self.itksnap.isChecked(),
            prompts=self.prompts.isChecked(),
            classes=self.classes.isChecked(),
        )

    def accept(self) -> None:
        """Save; the dialog closes when everything is written."""
        plan = self.plan()
        try:
            plan.check()
            there = _already(plan)
            if there and not questions.allow(there, "Replace", self):
                return
            exports = plan.exports(self)
            self._set_saving(True)
            written = background.run(write_all(exports), "Saving masks")
            prompts = plan.write_prompts()
        except background.Cancelled:
            self._say("Saving was cancelled; files that were complete by then are kept.")
            return
        except (ValueError, OSError) as error:
            self._say(str(error))
            return
        finally:
            self._set_saving(False)
        paths = [*(path for path, _ in written), *prompts]
        for path in paths:
            update_save_history(str(path))
        notes = [note for _, own in written for note in own]
        saved = listing(path.name for path in paths)
        text = " ".join([f"Saved {saved} in {plan.folder}.", *notes])
        (show_warning if notes else show_info)(text)
        super().accept()

    def reject(self) -> None:
        if not self._saving:  # its own dialog cancels
            super().reject()

    def _lay_out(self) -> None:
        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        folder = QHBoxLayout()
        folder.addWidget(self.folder, stretch=1)
        folder.addWidget(self.browse)
        if len(self._labels) > 1:
            form.addRow(self.combined, self.name)
        form.addRow("Folder", folder)
        layout = QVBoxLayout(self)
        layout.addWidget(self.table, stretch=1)
        layout.addLayout(form)
        layout.addWidget(self.classes)
        layout.addWidget(self.itksnap)
        layout.addWidget(self.prompts)
        layout.addWidget(self.summary)
        layout.addWidget(self.buttons)
        self.resize(560, 380)

    def _connect(self) -> None:
        self.buttons.accepted.connect(self.accept)
        self.buttons.rejected.connect(self.reject)
        self.browse.clicked.connect(self._choose_folder)
        self.table.itemChanged.connect(self._show_plan)
        for box in (self.combined, self.itksnap, self.prompts):
            box.toggled.connect(self._show_plan)
        for field in (self.name, self.folder):
            field.textChanged.connect(self._show_plan)

    def _choose_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Folder for masks", self.folder.text())
        if folder:
            self.folder.setText(folder)

    def _show_plan(self, *_: object) -> None:
        plan = self.plan()
        several = sum(map(self._is_ticked, range(len(self._labels)))) > 1
        self.combined.setEnabled(several)
        self.name.setEnabled(plan.combined)
        flags = Qt.ItemFlag.ItemIsSelectable | Qt.ItemFlag.ItemIsEnabled
        self.table.blockSignals(True)
        for row in range(len(self._labels)):
            own = self._is_ticked(row) and not plan.combined
            editable = flags | Qt.ItemFlag.ItemIsEditable if own else Qt.ItemFlag.ItemIsSelectable
            self.table.item(row, _FILE).setFlags(editable)
        self.table.blockSignals(False)
        self.save.setEnabled(bool(plan.layers))
        try:
            plan.check()
            self._say(_summary(plan))
        except (ValueError, OSError) as error:
            self._say(str(error))

    def _is_ticked(self, row: int) -> bool:
        return self.table.item(row, _LAYER).checkState() == _TICKED

    def _set_saving(self, saving: bool) -> None:
        self._saving = saving
        self.setEnabled(not saving)

    def _say(self, text: str) -> None:
        self.summary.setText(text)


def _table(labels: Sequence[Labels], names: Sequence[str], ticked: Sequence[bool]) -> QTableWidget:
    table = QTableWidget(len(labels), 2)
    table.setHorizontalHeaderLabels(["Layer", "File"])
    table.verticalHeader().setVisible(False)
    table.horizontalHeader().setSectionResizeMode(_FILE, QHeaderView.ResizeMode.Stretch)
    table.setColumnWidth(_LAYER, 190)
    for row, (layer, name, tick) in enumerate(zip(labels, names, ticked, strict=True)):
        item = QTableWidgetItem(layer.name)
        item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsUserCheckable)
        item.setCheckState(_TICKED if tick else _UNTICKED)
        item.setToolTip(layer.name)
        table.setItem(row, _LAYER, item)
        table.setItem(row, _FILE, QTableWidgetItem(name))
    return table


def _common(names: Sequence[str]) -> str:
    """A name for a label map of all layers."""
    first = names[0].removesuffix(".nii.gz")
    return f"{first.removesuffix('_seg')}_combined.nii.gz"


def _summary(plan: SavePlan) -> str:
    """Which files would be written, and which of them are there."""
    files = [*plan.masks, *(itksnap_path(mask) for mask in plan.masks if plan.itksnap)]
    files += [path for path, _ in plan.prompt_files]
    text = f"Writes {listing(path.name for path in files)}; names of labels go beside each mask."
    there = _already(plan)
    return f"{text}\n{there}" if there else text


def _already(plan: SavePlan) -> str:
    """Which files would be replaced, in a sentence; empty when none is there."""
    there = [path.name for path in plan.files if path.exists()]
    return f"{listing(there)} {'exists' if len(there) == 1 else 'exist'} already." if there else ""
