"""The row of adapters in the dock, and what its menu does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from napari.utils.history import get_open_history, update_open_history, update_save_history
from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QFileDialog, QFormLayout, QHBoxLayout, QMessageBox, QWidget

from napari_sam3d.catalog import ModelSpec
from napari_sam3d.engine import adapter_files as files
from napari_sam3d.engine.adapter_facts import read_facts
from napari_sam3d.engine.places import SUFFIX, adapter_file
from napari_sam3d.engine.training.recipes import recipe_of
from napari_sam3d.plugin.dock.adapter_list import AdapterList
from napari_sam3d.plugin.dock.adapter_menu import AdapterMenu
from napari_sam3d.plugin.dock.parts import keep_narrow
from napari_sam3d.plugin.files import questions
from napari_sam3d.plugin.files.asking import ask_path, save_folder

_FILTER = "Adapters (*.safetensors)"
_ALL = f"{_FILTER};;All files (*)"


class AdapterChoice(QObject):
    """Which adapter of the model is used, and its files.

    Parameters
    ----------
    model
        Name of the model.
    parent
        Window that dialogs stand in front of.

    Attributes
    ----------
    names
        The adapters there are.
    row
        All that is seen.
    """

    chosen = Signal(str, str)
    """Model and adapter that the user wants now."""
    gone = Signal(str)
    """An adapter that was chosen cannot be used any more: it was deleted, or replaced."""
    said = Signal(str)
    refused = Signal(str)

    def __init__(self, model: str, parent: QWidget) -> None:
        super().__init__(parent)
        self._parent = parent
        self.names = AdapterList(model, self)
        self.menu = AdapterMenu()
        self.row = QWidget(parent)
        self._combo: Any = None
        self._shown: tuple = ()
        self.names.lost.connect(self._on_lost)
        self.names.replaced.connect(self._on_replaced)
        self.names.changed.connect(self.show_chosen)
        self.menu.import_requested.connect(self._guarded(self._import))
        self.menu.export_requested.connect(self._guarded(self._export))
        self.menu.delete_requested.connect(self._guarded(self._delete))
        self.menu.about_requested.connect(self._guarded(self._about))

    def attach(self, combo: Any) -> None:
        """Show a magicgui combo box with the choices of `names`, and the menu beside it."""
        self._combo, self._help = combo, combo.tooltip
        self.names.attach(combo)
        keep_narrow(combo.native)
        beside = QHBoxLayout()
        beside.addWidget(combo.native, stretch=1)
        beside.addWidget(self.menu)
        form = QFormLayout(self.row)
        form.setContentsMargins(0, 0, 0, 0)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow(combo.label, beside)
        self.show_chosen()

    def show_model(self, spec: ModelSpec) -> None:
        """List the adapters of another model; the row is seen where there may be any."""
        self.names.show_model(spec.name)
        self.row.setVisible(_can_be_tuned(spec) or not self.names.empty)

    def show_chosen(self) -> None:
        """Say of the chosen one what it is."""
        name = self._combo.value
        if (name, self.names.stamp(name)) == self._shown:
            return
        self._shown = name, self.names.stamp(name)
        self.menu.set_name(name)
        self._combo.tooltip = self._help
        if name:
            try:
                text = "\n".join(files.told(name, read_facts(adapter_file(name))))
            except ValueError as error:
                text = str(error)
            self._combo.tooltip = f"{text}\n{self._help}"
        self._combo.native.setToolTip(self._combo.tooltip)

    def _on_lost(self, name: str) -> None:
        self.gone.emit(name)
        self.said.emit(f"The adapter {name} is gone; the model works as it came.")

    def _on_replaced(self, name: str) -> None:
        self.show_chosen()
        self.gone.emit(name)
        self.said.emit(f"The adapter {name} was replaced; the new one is used from now on.")

    # what the menu does

    def _import(self) -> None:
        folder = (*get_open_history(), str(Path.home()))[0]
        picked, _ = QFileDialog.getOpenFileName(self._parent, "Import adapter", folder, _ALL)
        if not picked:
            return
        path = Path(picked)
        facts = files.check_adapter(path)
        if files.is_kept(path):
            name = path.stem
        else:
            name = self._name_for(files.name_for(path, facts))
            if not name:
                return
            files.keep_adapter(path, name, overwrite=True)
            update_open_history(picked)
        self.names.refresh()
        self.chosen.emit(facts.model, name)
        self.said.emit(" ".join(files.told(name, facts)))

    def _name_for(self, name: str) -> str:
        """The name, or the one that the user prefers when there is such an adapter; or none."""
        free = files.free_name(name)
        if free == name:
            return name
        answer = questions.choose(
            f"There is an adapter called {name} already.",
            [f"Keep both: call the new one {free}", f"Replace {name}"],
            self._parent,
        )
        return "" if answer is None else (free, name)[answer]

    def _export(self) -> None:
        name = self._combo.value
        suggested = save_folder() / f"{name}{SUFFIX}"
        path = ask_path(suggested, "Export adapter", _FILTER, _suffixed, self._parent)
        if path is not None:
            files.export_adapter(name, path, overwrite=True)
            update_save_history(str(path))
            self.said.emit(f"The adapter {name} is now in {path}.")

    def _delete(self) -> None:
        name = self._combo.value
        path = files.named_file(name)
        text = f"Delete the adapter {name}?\n{path}\nThis cannot be undone."
        if questions.allow(text, "Delete", self._parent):
            files.delete_adapter(name)
            self.names.refresh()
            self.said.emit(f"Deleted the adapter {name}; the model works as it came.")

    def _about(self) -> None:
        name = self._combo.value
        path = files.named_file(name)
        box = QMessageBox(self._parent)
        box.setWindowTitle("SAM 3D")
        box.setIcon(QMessageBox.Icon.Information)
        box.setText("\n".join([*files.told(name, read_facts(path)), f"File: {path}"]))
        box.exec()

    def _guarded(self, action: Any) -> Any:
        def run() -> None:
            try:
                action()
            except (ValueError, OSError) as error:
                self.refused.emit(str(error))

        return run


def _can_be_tuned(spec: ModelSpec) -> bool:
    """Whether there may ever be adapters."""
    try:
        recipe_of(spec)
    except ValueError:
        return False
    return True


def _suffixed(text: str) -> Path:
    return Path(text if text.endswith(SUFFIX) else f"{text}{SUFFIX}")
