"""A trainer that does nothing by itself: tests say what comes of what was asked."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QObject, Signal

from napari_sam3d.engine.training.events import Finished, Looking, Started, Step, Validated
from napari_sam3d.engine.training.preflight import preflight

BASE, BETTER = (0.6, 0.7, 0.75), (0.7, 0.8, 0.85)


class FakeTrainer(QObject):
    """Has the signals and methods of `Trainer`, and keeps what was asked in `asked`."""

    event = Signal(object)
    checked = Signal(object)
    read = Signal(object)
    rehearsed = Signal(object)
    progressed = Signal(float)
    downloading = Signal(object, object)
    failed = Signal(str)
    state_changed = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.name, self.state = "", "idle"
        self.events: list[Any] = []
        self.asked: list[tuple[Any, ...]] = []
        self.checks_itself = True

    @property
    def trains(self) -> bool:
        return self.state in ("running", "stopping", "downloading")

    @property
    def progress(self) -> tuple[int, int]:
        return 0, 0

    def of(self, what: str) -> list[tuple[Any, ...]]:
        """What was asked of one kind."""
        return [rest for kind, *rest in self.asked if kind == what]

    def read_files(self, files) -> None:
        self.asked.append(("read", files))
        self.go("reading")

    def check(self, settings, pairs, name) -> None:
        self.asked.append(("check", settings, pairs, name))
        if self.checks_itself:
            self.checked.emit(tuple(preflight(settings, pairs, name)))

    def rehearse(self, settings, pairs) -> None:
        self.asked.append(("rehearse", settings, pairs))
        self.go("rehearsing")

    def start(self, settings, pairs, name, resume=False) -> None:
        self.asked.append(("start", settings, pairs, name, resume))
        self.name, self.events = name, []
        self.go("running")

    def stop(self) -> None:
        self.asked.append(("stop",))
        if self.trains:
            self.go("stopping")

    def close(self) -> None:
        self.stop()

    # what tests have it say

    def go(self, state: str) -> None:
        """Come into another state."""
        self.state = state
        self.state_changed.emit(state)

    def tell(self, *events: Any) -> None:
        """Tell of a training."""
        for event in events:
            self.events.append(event)
            self.event.emit(event)

    def begin(self, steps: int = 100, held_out: tuple[str, ...] = ("held",)) -> None:
        """A training is under way, and the model as it was is known."""
        self.tell(
            Started(self.name, 0, steps, 1000, ("a", "b"), held_out, False),
            Looking(0, 1, 1),
            Validated(0, BASE, BASE, False),
        )

    def step(self, *numbers: int) -> None:
        for number in numbers:
            self.tell(Step(number, 1.0 / number, 1e-4, 0.5))

    def finish(self, adapter: Any = None, step: int = 100) -> None:
        """It has ended by itself."""
        verdict = "Dice 0.60 to 0.70 after one click, on 1 held-out volume."
        if adapter is None:
            verdict = "Not better than the model before, on 1 held-out volume; not selected."
        self.tell(Finished(step, verdict, adapter, BASE, BETTER))
        self.go("idle")
