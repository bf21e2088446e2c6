"""The menu beside the adapters: files of others, passing on, deleting, and what one is."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QMenu, QPushButton

_ABOUT = "The model, classes and cases, how much it helped, and its licence"


class AdapterMenu(QPushButton):
    """What the user wants with an adapter leaves as signals."""

    import_requested = Signal()
    export_requested = Signal()
    delete_requested = Signal()
    about_requested = Signal()

    def __init__(self) -> None:
        super().__init__("Files")
        self.setToolTip("Import an adapter; export or delete the chosen one; what it is")
        menu = QMenu(self)
        menu.setToolTipsVisible(True)
        self.bring = menu.addAction("Import adapter...", self.import_requested.emit)
        self.bring.setToolTip("Choose a file that somebody has passed on; it is copied and chosen")
        self.export = menu.addAction("Export adapter...", self.export_requested.emit)
        self.export.setToolTip("Copy the chosen adapter to a file, to pass it on")
        menu.addSeparator()
        self.about = menu.addAction("About this adapter", self.about_requested.emit)
        self.about.setToolTip(_ABOUT)
        self.delete = menu.addAction("Delete adapter...", self.delete_requested.emit)
        self.delete.setToolTip("Delete the file of the chosen adapter")
        self.setMenu(menu)
        self.set_name("")

    def set_name(self, name: str) -> None:
        """Which adapter is chosen; empty for none."""
        for action in (self.export, self.about, self.delete):
            action.setEnabled(bool(name))
