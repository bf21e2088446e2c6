"""The buttons at the end of the dock: what is saved, and loaded again."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QMenu, QWidget

from napari_sam3d.plugin.dock.parts import button, row


class FileControls(QWidget):
    """Masks to files, prompts to files and back: what the user wants leaves as signals."""

    save_requested = Signal()
    save_prompts_requested = Signal()
    load_prompts_requested = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.save = button("Save masks...", "Write masks as NIfTI, with the names of their labels")
        self.save.clicked.connect(self.save_requested)
        self.prompts = button("Prompts", "Save what was said of all objects in a file, or load it")
        menu = QMenu(self)
        menu.setToolTipsVisible(True)
        saving = menu.addAction("Save prompts...", self.save_prompts_requested.emit)
        saving.setToolTip("Write the prompts of all objects, to go on with them another day")
        loading = menu.addAction("Load prompts...", self.load_prompts_requested.emit)
        loading.setToolTip("Add the objects of a file to those that are here")
        self.prompts.setMenu(menu)
        layout = row(self.save, self.prompts)
        layout.setContentsMargins(0, 0, 0, 0)
        self.setLayout(layout)
