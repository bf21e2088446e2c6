"""Questions are asked where somebody sits, and only there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import Qt, QTimer
from qtpy.QtTest import QTest
from qtpy.QtWidgets import (
    QApplication,
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QInputDialog,
    QMessageBox,
    QWidget,
)

from napari_sam3d._tests.nifti_files import nifti, put
from napari_sam3d._tests.plugin.files.test_writer import on, open_layer
from napari_sam3d.plugin.files import background, questions
from napari_sam3d.plugin.files.writer import NotSaved, write_multi, write_single


@pytest.fixture
def window(qtbot):
    widget = QWidget()
    qtbot.addWidget(widget)
    widget.show()
    qtbot.waitUntil(widget.isVisible)
    return widget


def in_the_event_loop(qtbot, act: Callable[[], Any]) -> Any:
    """What an action returns or raises that the user starts, with the event loop running."""
    results: list[Any] = []

    def run() -> None:
        try:
            results.append(act())
        except Exception as error:
            results.append(error)

    QTimer.singleShot(0, run)
    qtbot.waitUntil(lambda: bool(results))
    return results[0]


def when_asked(kind: type[QDialog], react: Callable[[Any], None]) -> None:
    """Do something with the next dialog of a kind, once it stands there."""

    def look() -> None:
        dialog = QApplication.activeModalWidget()
        if isinstance(dialog, kind):
            react(dialog)
        else:
            QTimer.singleShot(20, look)

    QTimer.singleShot(20, look)


def press(dialog: QDialog, word: str) -> None:
    (box,) = dialog.findChildren(QDialogButtonBox)
    (button,) = [b for b in box.buttons() if b.text().replace("&", "") == word]
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)


def test_a_script_is_not_stopped(window):
    """The window is there, but nobody can press a button before the script is over."""
    assert not questions.can_ask()
    assert questions.choose("?", ["a"]) is None and questions.allow("?", "Yes") is None


def test_nobody_sits_at_an_empty_screen(qtbot, window):
    assert in_the_event_loop(qtbot, questions.can_ask)
    window.hide()
    others = [w for w in QApplication.topLevelWidgets() if w.isVisible()]
    assert in_the_event_loop(qtbot, questions.can_ask) is bool(others)


@pytest.mark.parametrize(("word", "expected"), [("OK", 1), ("Cancel", None)])
def test_one_of_several(qtbot, window, word, expected):
    def react(dialog: QInputDialog) -> None:
        (box,) = dialog.findChildren(QComboBox)
        QTest.keyClick(box, Qt.Key.Key_Down)
        press(dialog, word)

    when_asked(QInputDialog, react)
    assert in_the_event_loop(qtbot, lambda: questions.choose("?", ["a", "b", "c"])) == expected


@pytest.mark.parametrize(("word", "expected"), [("Replace", True), ("Cancel", False)])
def test_yes_or_no(qtbot, window, word, expected):
    when_asked(QMessageBox, lambda dialog: press(dialog, word))
    assert in_the_event_loop(qtbot, lambda: questions.allow("?", "Replace")) is expected


def test_enter_and_escape_replace_nothing(qtbot, window):
    for key in (Qt.Key.Key_Return, Qt.Key.Key_Escape):
        when_asked(QMessageBox, lambda dialog, key=key: QTest.keyClick(dialog, key))
        assert in_the_event_loop(qtbot, lambda: questions.allow("?", "Replace")) is False


def test_the_writer_asks_the_user(qtbot, window, tmp_path):
    path = put(tmp_path / "scan.nii", nifti())
    image = open_layer(path)
    before = path.read_bytes()
    data, meta, _ = on(image, name="mask", metadata=image.metadata).as_layer_data_tuple()
    texts: list[str] = []
    for word in ("Cancel", "Replace"):
        assert path.read_bytes() == before

        def react(dialog: QMessageBox, word: str = word) -> None:
            texts.append(dialog.text())
            press(dialog, word)

        when_asked(QMessageBox, react)
        result = in_the_event_loop(qtbot, lambda: write_single(str(path), data, meta))
        assert isinstance(result, NotSaved if word == "Cancel" else list)
    assert path.read_bytes() != before and not np.asarray(open_layer(path).data).any()
    assert len(texts) == 2
    assert {text.split("\n")[0] for text in texts} == {
        "scan.nii is the image that mask comes from."
    }


def test_a_cancelled_save_says_so(tmp_path, monkeypatch):
    def cancel(steps, title):
        steps.close()
        raise background.Cancelled

    monkeypatch.setattr(background, "run", cancel)
    layers = [(np.zeros((2, 2, 2), int), {"name": n}, "labels") for n in "ab"]
    with pytest.raises(NotSaved, match="Saving was cancelled"):
        write_multi(str(tmp_path / "x.nii"), layers)
