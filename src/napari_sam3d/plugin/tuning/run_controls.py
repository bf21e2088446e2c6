"""Start, stop, resume, and how far it is: what the Train dock always shows."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QProgressBar, QVBoxLayout, QWidget

from napari_sam3d.plugin.dock.parts import StatusLine, button, row

_STEPS = 1000
_STOP, _STOPPING = "Stop", "Stopping (saving)..."
_START = "Tune the model on these pairs; clicks in the Segment dock are answered meanwhile"
_SAVES = "Save and stop; Resume... goes on from there"
_GIVES_UP = "Give up what is being done: reading files, or estimating the time"
_RESUME = "Go on with a training that was stopped or has failed"


class RunControls(QWidget):
    """Buttons, a bar and a status line: what the user wants leaves as signals."""

    start_requested = Signal()
    stop_requested = Signal()
    resume_requested = Signal()
    folder_requested = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.start = button("Start", _START)
        self.stop = button(_STOP, _SAVES)
        self.resume = button("Resume...", _RESUME)
        self.folder = button("Open folder", "Show the files of the training, or of all trainings")
        self.busy = QProgressBar()
        self.busy.setToolTip("How far it is")
        self.busy.setTextVisible(False)
        self.busy.setFixedHeight(4)
        keep = self.busy.sizePolicy()
        keep.setRetainSizeWhenHidden(True)
        self.busy.setSizePolicy(keep)
        self.status = StatusLine()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(row(self.start, self.stop))
        layout.addLayout(row(self.resume, self.folder))
        layout.addWidget(self.busy)
        layout.addWidget(self.status)
        for it, signal in (
            (self.start, self.start_requested),
            (self.stop, self.stop_requested),
            (self.resume, self.resume_requested),
            (self.folder, self.folder_requested),
        ):
            it.clicked.connect(signal)
        self.set_state("idle", "")

    def set_state(self, state: str, obstacle: str) -> None:
        """Show what can be done.

        Parameters
        ----------
        state
            Of the `Trainer`.
        obstacle
            Why no training can begin; empty when it can.
        """
        trains = state in ("running", "stopping", "downloading")
        stops = state == "stopping"
        why = obstacle or ("Another training is under way: wait for its end, or stop it." * trains)
        self.start.setEnabled(not why)
        self.start.setToolTip(why or _START)
        self.resume.setEnabled(not trains)
        self.stop.setText(_STOPPING if stops else _STOP)
        self.stop.setToolTip(_SAVES if trains else _GIVES_UP)
        self.stop.setEnabled(state not in ("idle", "stopping", "checking"))
        self.busy.setVisible(state != "idle")
        if state in ("idle", "checking", "downloading", "stopping"):
            self.set_progress(None)

    def set_progress(self, share: float | None) -> None:
        """Show the share that is done, 0 to 1, or that nobody knows it."""
        self.busy.setRange(0, 0 if share is None else _STEPS)
        if share is not None:
            self.busy.setValue(round(_STEPS * share))
