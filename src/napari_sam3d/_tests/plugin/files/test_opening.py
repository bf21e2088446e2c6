"""Every way to open a file, in real windows."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import napari
import napari_builtins
import pytest
from napari.settings import get_settings
from napari.utils.notifications import ErrorNotification, notification_manager
from npe2 import PluginManifest
from qtpy.QtCore import QMimeData, QPoint, QPointF, Qt, QTimer, QUrl
from qtpy.QtGui import QDragEnterEvent, QDropEvent, QGuiApplication
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QFileDialog, QMessageBox, QPushButton

from napari_sam3d._tests.nifti_files import header, nifti, numbers, put
from napari_sam3d._tests.plugin.files.test_reader import put_pair
from napari_sam3d.plugin.files import opening


@pytest.fixture(autouse=True)
def fresh_settings() -> Iterator[None]:
    opening._offered.clear()
    settings = get_settings().plugins
    before = settings.extension2reader
    settings.extension2reader = {}
    notification_manager.records.clear()
    yield
    settings.extension2reader = before


@pytest.fixture
def viewer(real_viewer, npe2pm, manifest):
    """A window of a napari with its built-in readers and ours."""
    npe2pm.register(
        PluginManifest.from_file(Path(napari_builtins.__file__).with_name("builtins.yaml"))
    )
    npe2pm.register(manifest)
    return real_viewer(show=True)


@pytest.fixture
def chooser(monkeypatch) -> list[dict[str, str]]:
    """What napari's dialog for choosing a reader offers; it is answered with ours."""
    asked: list[dict[str, str]] = []

    def answer(paths, qt_viewer, stack, plugin_name=None, error=None, **kwargs):
        from napari._qt.dialogs import qt_reader_dialog as it

        asked.append(it.prepare_remaining_readers(paths, plugin_name, error))
        qt_viewer.viewer.open(paths, stack=stack, plugin="napari-sam3d")

    monkeypatch.setattr("napari._qt.qt_viewer.handle_gui_reading", answer)
    return asked


@pytest.fixture
def path(tmp_path) -> str:
    return str(put(tmp_path / "scan.nii.gz", nifti()))


def by_hand(qtbot, act: Callable[[], object]) -> None:
    """Act as the event loop would, when a person does something."""
    done = []
    QTimer.singleShot(0, lambda: done.append(act()))
    qtbot.waitUntil(lambda: bool(done))


def drop(viewer, *paths: str) -> None:
    """Drop files on the canvas."""
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(path) for path in paths])
    window = getattr(viewer, "__wrapped__", viewer).window._qt_viewer
    # a key pressed by an earlier test may be down still: with Shift napari stacks the files
    QTest.keyRelease(window, Qt.Key.Key_Shift, Qt.KeyboardModifier.NoModifier)
    assert QGuiApplication.keyboardModifiers() == Qt.KeyboardModifier.NoModifier
    where, copy = (50, 50), Qt.DropAction.CopyAction
    buttons = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    # Qt hands a drop to the widget that took the drag
    QApplication.sendEvent(window, QDragEnterEvent(QPoint(*where), copy, mime, *buttons))
    QApplication.sendEvent(window, QDropEvent(QPointF(*where), copy, mime, *buttons))


def errors() -> list[str]:
    return [r.message for r in notification_manager.records if str(r.severity) == "error"]


def names(viewer) -> list[str]:
    return [layer.name for layer in viewer.layers]


def test_open_by_plugin_name(viewer, path, tmp_path) -> None:
    other = str(put(tmp_path / "other.nii.gz", nifti()))
    assert len(viewer.open(path, plugin="napari-sam3d")) == 1
    assert len(viewer.open([path, other], plugin="napari-sam3d")) == 2
    assert len(viewer.open([path, other], plugin="napari-sam3d", stack=True)) == 2
    assert viewer.layers[0].source.reader_plugin == "napari-sam3d"


def test_dropped_without_preference_napari_asks(viewer, path, qtbot, chooser) -> None:
    by_hand(qtbot, lambda: drop(viewer, path))
    assert names(viewer) == ["scan"]
    assert [set(readers) for readers in chooser] == [{"napari", "napari-sam3d"}]


def test_dropped_with_preference(viewer, path, tmp_path, qtbot, chooser) -> None:
    opening.set_preferred(True)
    other = str(put(tmp_path / "other.nii", nifti()))
    by_hand(qtbot, lambda: drop(viewer, path, other))
    assert names(viewer) == ["scan", "other"] and not chooser and not errors()


def test_a_dropped_pair_is_one_layer(viewer, tmp_path, qtbot, chooser) -> None:
    by_hand(qtbot, lambda: drop(viewer, *put_pair(tmp_path)))
    assert names(viewer) == ["a"]


def test_a_bad_file_is_one_sentence_in_the_window(viewer, tmp_path, qtbot, chooser) -> None:
    opening.set_preferred(True)
    put(tmp_path / "bad.nii", b"nothing")
    by_hand(qtbot, lambda: drop(viewer, str(tmp_path / "bad.nii")))
    assert len(errors()) == 1 and errors()[0].startswith("bad.nii is not a NIfTI file")
    assert not chooser and not viewer.layers  # napari does not ask for another reader instead
    assert not any(isinstance(r, ErrorNotification) for r in notification_manager.records)


def test_file_open(viewer, path, qtbot, monkeypatch, chooser) -> None:
    opening.set_preferred(True)
    monkeypatch.setattr("napari._qt.qt_viewer.QtViewer._open_file_dialog_uni", lambda *args: [path])
    app = napari._app_model.get_app_model()
    by_hand(
        qtbot, lambda: app.commands.execute_command("napari.window.file.open_files_dialog").result()
    )
    assert names(viewer) == ["scan"] and not chooser


def test_our_command_is_in_the_file_menu(viewer) -> None:
    items = napari._app_model.get_app_model().menus.get_menu("napari/file/io_utilities")
    titles = [item.command.title for item in items]
    assert "Open NIfTI... (SAM 3D)" in titles
    assert "Open NIfTI files from now on... (SAM 3D)" in titles


def test_our_command_opens_what_is_chosen(viewer, path, tmp_path, monkeypatch, qtbot) -> None:
    get_settings().plugins.extension2reader = {"*.nii": "napari", "*.gz": "napari"}
    chosen = [path, *put_pair(tmp_path), str(put(tmp_path / "bad.nii", b"nothing"))]
    monkeypatch.setattr(QFileDialog, "getOpenFileNames", lambda *args: (chosen, ""))
    app = napari._app_model.get_app_model()
    by_hand(qtbot, lambda: app.commands.execute_command("napari-sam3d.open_nifti").result())
    assert names(viewer) == ["scan", "a"]
    assert len(errors()) == 1 and errors()[0].startswith("bad.nii is not a NIfTI file")
    assert not viewer.layers[0].name.endswith(".nii")


@pytest.fixture
def answer(monkeypatch) -> Callable[[str], list[str]]:
    """Presses the button with this text in the next message box; returns what boxes said."""

    def prepare(text: str) -> list[str]:
        said: list[str] = []

        def press(box: QMessageBox) -> int:
            said.append(box.text())
            (button,) = (b for b in box.findChildren(QPushButton) if b.text().strip("&") == text)
            button.click()
            return 0

        monkeypatch.setattr(QMessageBox, "exec", press)
        return said

    return prepare


@pytest.fixture
def large(monkeypatch) -> None:
    """Everything takes much memory."""
    monkeypatch.setattr("napari_sam3d.io.checks._LARGE", 0)


def test_a_large_file_is_read_when_the_user_says_so(viewer, path, large, answer) -> None:
    said = answer("Read it anyway")
    assert len(opening.open_files(viewer, [path])) == 1
    assert len(said) == 1 and "GB of memory" in said[0]


def test_a_large_file_is_left_when_the_user_says_so(viewer, path, large, answer) -> None:
    answer("Cancel")
    assert opening.open_files(viewer, [path]) == [] and not errors()


def test_a_large_file_is_unpacked_when_the_user_says_so(
    viewer, path, large, answer, monkeypatch, tmp_path
) -> None:
    answer("Unpack...")
    offered = []

    def choose(parent, title, beside, *args):
        offered.append(beside)
        return beside.removesuffix(".nii"), ""

    monkeypatch.setattr(QFileDialog, "getSaveFileName", choose)
    (layer,) = opening.open_files(viewer, [path])
    assert offered == [str(tmp_path / "scan.nii")]
    assert (tmp_path / "scan.nii").read_bytes() == nifti()
    assert layer.data.max() == numbers().max()


def test_a_file_beyond_the_memory_can_only_be_unpacked(viewer, path, answer, monkeypatch) -> None:
    monkeypatch.setattr("napari_sam3d.io.checks._TOO_LARGE", 0)
    answer("Read it anyway")
    with pytest.raises(ValueError, match="unpack"):  # there is no such button
        opening.open_files(viewer, [path])
    said = answer("Cancel")
    assert opening.open_files(viewer, [path]) == []
    assert "unpack it to .nii" in said[-1]


def test_a_large_dropped_file_names_the_command(viewer, path, large, qtbot, chooser) -> None:
    opening.set_preferred(True)
    by_hand(qtbot, lambda: drop(viewer, path))
    assert not viewer.layers and not chooser
    assert len(errors()) == 1 and "Open NIfTI..." in errors()[0]


def test_the_preference_is_never_set_silently(viewer, path, answer) -> None:
    opening.open_files(viewer, [path])
    assert not opening.is_preferred()
    (offer,) = (r for r in notification_manager.records if r.actions)
    ((text, accept),) = offer.actions
    assert text == "From now on"
    accept(None)
    assert opening.is_preferred()
    notification_manager.records.clear()
    opening.open_files(viewer, [path])
    assert not any(r.actions for r in notification_manager.records)


def test_the_preference_can_be_set_and_unset(viewer, answer) -> None:
    others = {"*.tif": "napari", "*.nii.gz": "another"}
    get_settings().plugins.extension2reader = dict(others)
    answer("Cancel")
    opening.prefer()
    assert get_settings().plugins.extension2reader == others
    answer("From now on")
    opening.prefer()
    assert opening.is_preferred()
    said = answer("Leave it so")
    opening.prefer()
    assert opening.is_preferred() and "opened with SAM 3D" in said[0]
    answer("Ask again")
    opening.prefer()
    assert get_settings().plugins.extension2reader == {"*.tif": "napari"}


def test_of_equal_patterns_ours_wins(viewer, path, qtbot, chooser) -> None:
    get_settings().plugins.extension2reader = {"*.gz": "napari"}
    opening.set_preferred(True)
    by_hand(qtbot, lambda: drop(viewer, path))
    assert names(viewer) == ["scan"] and not errors() and not chooser


def test_cancel_while_napari_opens_is_no_layer(viewer, path, monkeypatch, qtbot, chooser) -> None:
    from qtpy.QtWidgets import QProgressDialog

    threads: list[threading.Thread] = []

    def endless(*args, **kwargs):
        threads.append(threading.current_thread())
        while True:
            threading.Event().wait(0.01)
            yield 0.5

    monkeypatch.setattr("napari_sam3d.plugin.files.reader.open_steps", endless)
    opening.set_preferred(True)

    def cancel() -> None:
        for dialog in QApplication.allWidgets():
            if isinstance(dialog, QProgressDialog) and dialog.isVisible():
                dialog.cancel()

    timer = QTimer(interval=20)
    timer.timeout.connect(cancel)
    timer.start()
    by_hand(qtbot, lambda: drop(viewer, path))
    timer.stop()
    assert not viewer.layers and not errors() and not chooser
    assert [thread.is_alive() for thread in threads] == [False]


AS_FROM_THE_SHELL = """
import sys
import napari
from napari.__main__ import main
from napari.qt import get_qapp
from napari.utils.notifications import notification_manager
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication

app = get_qapp()

def look():
    viewer = napari.current_viewer()
    windows = [w for w in QApplication.topLevelWidgets() if w.isVisible()]
    if viewer is not None and windows:  # napari shows its window after it has opened the files
        print("layers", [layer.name for layer in viewer.layers])
        print("windows", [type(w).__name__ for w in windows])
        print("said", [r.message for r in notification_manager.records])
        app.exit(0)

timer = QTimer(interval=50)
timer.timeout.connect(look)
timer.start()
main()
"""


def from_the_shell(tmp_path: Path, *arguments: str) -> str:
    """What happens at `napari ...`, with the settings in a file of their own."""
    done = subprocess.run(
        [sys.executable, "-c", AS_FROM_THE_SHELL, *arguments],
        env={**os.environ, "NAPARI_CONFIG": str(tmp_path / "settings.yaml")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def screen() -> None:
    if sys.platform == "linux" and not os.environ.get("DISPLAY"):
        pytest.skip("no display: run under xvfb-run to see this test")


@pytest.mark.parametrize("preferred", [False, True])
def test_from_the_shell(screen, tmp_path, path, preferred) -> None:
    if preferred:
        readers = "".join(f"    '{pattern}': napari-sam3d\n" for pattern in opening.PATTERNS)
        (tmp_path / "settings.yaml").write_text(f"plugins:\n  extension2reader:\n{readers}")
        said = from_the_shell(tmp_path, path)
    else:
        said = from_the_shell(tmp_path, "--plugin", "napari-sam3d", path)
    assert "layers ['scan']" in said and "windows ['_QtMainWindow']" in said


def test_a_bad_file_from_the_shell_is_one_sentence(screen, tmp_path) -> None:
    put(tmp_path / "bad.nii", b"nothing")
    said = from_the_shell(tmp_path, "--plugin", "napari-sam3d", str(tmp_path / "bad.nii"))
    assert "layers []" in said and "['bad.nii is not a NIfTI file" in said


def test_foreign_hdr_is_left_to_others(viewer, tmp_path, qtbot) -> None:
    (tmp_path / "envi.hdr").write_text("ENVI\n")
    with pytest.raises(ValueError, match="napari-sam3d"):
        viewer.open(str(tmp_path / "envi.hdr"), plugin="napari-sam3d")
    assert len(header()) == 348
