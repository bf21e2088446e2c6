"""What to do next, in a line or two, for who opens the dock for the first time."""

from __future__ import annotations

from dataclasses import dataclass

from napari.settings import get_plugin_settings
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QToolButton, QVBoxLayout, QWidget

from napari_sam3d.plugin.dock.keys import MEANINGS
from napari_sam3d.plugin.dock.parts import button, row

_PLUGIN = "napari-sam3d"


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far somebody has come.

    Parameters
    ----------
    has_image
        There is an image to segment.
    obstacle
        Why the model cannot be asked yet; empty when it can.
    no_clicks
        What to do with a model that takes no clicks; empty for the others.
    prompts
        How much was said about the current object.
    masks
        How many objects have one.
    """

    has_image: bool = False
    obstacle: str = ""
    no_clicks: str = ""
    prompts: int = 0
    masks: int = 0

    @property
    def knows_how(self) -> bool:
        """Has corrected a mask, or begun a second object."""
        return self.masks > 1 or (self.masks == 1 and self.prompts > 1)


def advice(at: Progress) -> str:
    """The next step."""
    if not at.has_image:
        return "Open a 3D image, or try a sample."
    if at.obstacle:
        return at.obstacle
    if not at.masks and at.prompts:
        return "Its mask appears in a moment."
    if not at.masks and at.no_clicks:
        return at.no_clicks
    if not at.masks:
        return "Click on the object, in a slice or in the 3D view."
    return (
        "Correct: click where the mask is missing, Ctrl+click where it is too much. "
        "N for the next object."
    )


class Guide(QWidget):
    """Shown until somebody knows how, or has enough of it; the button brings it back, with keys.

    Attributes
    ----------
    help
        The button, which stands elsewhere.
    """

    open_requested = Signal()
    sample_requested = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._at = Progress()
        self._wanted, self._asked = _is_wanted(), False
        self.help = QToolButton()
        self.help.setText("?")
        self.help.setCheckable(True)
        self.help.setToolTip("What to do next, and the keys")
        self.text = QLabel()
        self.text.setWordWrap(True)
        self.text.setToolTip("What to do next; the button ? beside the image shows it again")
        self.keys = QLabel(_keys())
        self.keys.setTextFormat(Qt.TextFormat.RichText)
        self.keys.setWordWrap(True)
        self.keys.setToolTip("They work while the image has the focus")
        self.dismiss = QToolButton()
        self.dismiss.setText("✕")
        self.dismiss.setToolTip("Do not show this any more; ? brings it back")
        self.open = button("Open NIfTI...", "Choose an image file (.nii, .nii.gz, .hdr, .img)")
        self.sample = button("Try a sample", "Open a drawn torso with organs and lesions (CT)")
        self._start = QWidget()
        start = row(self.open, self.sample)
        start.setContentsMargins(0, 0, 0, 0)
        self._start.setLayout(start)
        self._words = QWidget()
        words = QHBoxLayout(self._words)
        words.setContentsMargins(0, 0, 0, 0)
        words.addWidget(self.text, stretch=1)
        words.addWidget(self.dismiss, alignment=Qt.AlignmentFlag.AlignTop)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for part in (self._words, self.keys, self._start):
            layout.addWidget(part)
        self.help.toggled.connect(self._on_help)
        self.dismiss.clicked.connect(self._on_dismissed)
        self.open.clicked.connect(self.open_requested)
        self.sample.clicked.connect(self.sample_requested)
        self._show()

    def set_progress(self, at: Progress) -> None:
        """Say what comes next."""
        self._at = at
        if at.knows_how:
            self._stop()
        self._show()

    def _show(self) -> None:
        self.text.setText(advice(self._at))
        said = self._wanted or self._asked
        self._words.setVisible(said)
        self.keys.setVisible(self._asked)
        self._start.setVisible(not self._at.has_image)
        self.setVisible(said or not self._at.has_image)

    def _on_help(self, asked: bool) -> None:
        self._asked = asked
        self._show()

    def _on_dismissed(self) -> None:
        self._stop()
        self.help.setChecked(False)
        self._show()

    def _stop(self) -> None:
        """Do not say anything by itself any more, now and in the next dock."""
        if self._wanted:
            self._wanted = False
            _set_wanted(False)


def _keys() -> str:
    lines = "".join(
        f"<tr><td><b>{key}</b>&nbsp;&nbsp;</td><td>{does}</td></tr>" for key, does in MEANINGS
    )
    return f"<table>{lines}</table>"


def _is_wanted() -> bool:
    """As napari's Preferences say; they do not know a plugin that napari has not found."""
    try:
        return bool(get_plugin_settings(_PLUGIN).guide.show)
    except (KeyError, AttributeError):
        return True


def _set_wanted(wanted: bool) -> None:
    try:
        get_plugin_settings(_PLUGIN).guide.show = wanted
    except (KeyError, AttributeError):
        return
