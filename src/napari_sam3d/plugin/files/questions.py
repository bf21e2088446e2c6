"""Questions to the user, where there is one: a script is never stopped by a dialog."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import QThread
from qtpy.QtWidgets import QApplication, QInputDialog, QMessageBox, QWidget

from napari_sam3d.plugin.files.background import main_window

_TITLE = "SAM 3D"


def can_ask() -> bool:
    """Whether somebody sits at a window: its event loop is running, on this thread."""
    app = QApplication.instance()
    if not isinstance(app, QApplication) or QThread.currentThread() != app.thread():
        return False
    shown = any(widget.isVisible() for widget in app.topLevelWidgets())
    return shown and QThread.currentThread().loopLevel() > 0


def choose(text: str, options: Sequence[str], parent: QWidget | None = None) -> int | None:
    """Number of the option that the user picks; None when there is no answer."""
    if parent is None and not can_ask():
        return None
    chosen, accepted = QInputDialog.getItem(
        parent or main_window(), _TITLE, text, list(options), 0, False
    )
    return list(options).index(chosen) if accepted else None


def allow(text: str, action: str, parent: QWidget | None = None) -> bool | None:
    """Whether the user allows an action; None when nobody can be asked.

    Parameters
    ----------
    text
        What it would do.
    action
        The word on the button, such as "Replace"; the other one says "Cancel" and is the default.
    parent
        Window to stand in front of, which also says that somebody can be asked.
    """
    if parent is None and not can_ask():
        return None
    box = QMessageBox(parent or main_window())
    box.setWindowTitle(_TITLE)
    box.setIcon(QMessageBox.Icon.Warning)
    box.setText(text)
    yes = box.addButton(action, QMessageBox.ButtonRole.AcceptRole)
    no = box.addButton(QMessageBox.StandardButton.Cancel)
    box.setDefaultButton(no)
    box.exec()
    return box.clickedButton() == yes
