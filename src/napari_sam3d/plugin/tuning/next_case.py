"""Apply to the next case: volumes of a folder, one after the other, become training pairs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from napari.utils.history import get_open_history
from qtpy.compat import isalive
from qtpy.QtCore import QFileSystemWatcher, Signal
from qtpy.QtWidgets import QComboBox, QFileDialog, QFormLayout, QVBoxLayout, QWidget

from napari_sam3d.engine.adapter_facts import AdapterFacts, read_facts
from napari_sam3d.engine.places import adapter_file, adapter_names, adapters_folder
from napari_sam3d.io import nifti_stem
from napari_sam3d.io.pairs import find_images
from napari_sam3d.plugin.dock.parts import button, keep_narrow
from napari_sam3d.plugin.files import background, questions
from napari_sam3d.plugin.tuning.next_case_classes import OWN, classes_of, values_of
from napari_sam3d.plugin.tuning.next_case_open import OpenCase
from napari_sam3d.plugin.tuning.next_case_view import CaseButtons, CaseList
from napari_sam3d.plugin.tuning.segment_dock import open_segment

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_sam3d.labelled import Pair, PairFiles
    from napari_sam3d.plugin.segment_widget import SegmentWidget

PLAIN = "none: as the Segment dock has it"


class Pairs(Protocol):
    """The training set."""

    def add_pair(self, pair: Pair) -> None: ...
    def value(self) -> tuple[Pair, ...]: ...


class NextCase(QWidget):
    """Opens volume after volume, has an adapter propose, and adds what the user made of it.

    Parameters
    ----------
    viewer
        Where volumes are opened.
    pairs
        What they are added to.
    dock
        The Segment dock of the viewer, opened when it is not.
    """

    said = Signal(str)
    """A sentence for the status line."""
    refused = Signal(str)
    """A sentence that must not be missed."""
    train_requested = Signal(str, str)
    """Train again: the model, and the adapter to start from, which may be empty."""

    def __init__(
        self,
        viewer: ViewerModel,
        pairs: Pairs,
        dock: Callable[[ViewerModel], SegmentWidget] = open_segment,
    ) -> None:
        super().__init__()
        self._viewer, self._pairs, self._open_dock = viewer, pairs, dock
        self._files: list[PairFiles] = []
        self._skipped: set[Path] = set()
        self._failed: set[Path] = set()
        self._case: OpenCase | None = None
        self._added = False
        self._bar: CaseButtons | None = None
        self.folder = button("Choose folder...", "A folder with volumes to segment, NIfTI")
        self.list = CaseList()
        self.adapter = QComboBox()
        self.adapter.setToolTip("The adapter that proposes masks, without a click where it can")
        keep_narrow(self.adapter)
        self.buttons = CaseButtons()
        self.again = button("Train again", "Tune once more, from this adapter, on all pairs")
        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("Adapter", self.adapter)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.folder)
        layout.addWidget(self.list)
        layout.addLayout(form)
        layout.addWidget(self.buttons)
        layout.addWidget(self.again)
        self.again.hide()
        self.folder.clicked.connect(self._guarded(self._on_folder))
        self.list.chosen.connect(self._guarded(self.open))
        self.again.clicked.connect(self._on_again)
        self._listen(self.buttons)
        viewer.layers.events.removed.connect(self._on_removed)
        adapters_folder().mkdir(parents=True, exist_ok=True)
        self._watcher = QFileSystemWatcher([str(adapters_folder())], self)
        self._watcher.directoryChanged.connect(self._show_adapters)
        self._show_adapters()
        self._show()

    @property
    def case(self) -> OpenCase | None:
        """The volume that is open."""
        return self._case

    def set_folder(self, folder: Path) -> None:
        """List the volumes of a folder; ValueError when it has none."""
        files = find_images(folder)
        if self._leave():
            self._files, self._skipped, self._failed = files, set(), set()
            self.folder.setText(folder.name or str(folder))
            self.folder.setToolTip(f"{folder}\nClick to choose another folder")
            self._show()

    def set_adapter(self, name: str) -> None:
        """Propose with this adapter, such as the one that was just made, when there is one."""
        self._show_adapters()
        at = self.adapter.findData(name)
        if at >= 0:
            self.adapter.setCurrentIndex(at)

    def teardown(self) -> None:
        """Leave the viewer alone; what is open stays, to be saved by hand."""
        self._viewer.layers.events.removed.disconnect(self._on_removed)
        self._drop_bar()
        self._case = None

    def open_next(self) -> None:
        """Open the next volume without labels; ValueError when there is none."""
        if not self._files:
            raise ValueError("Choose a folder of volumes first.")
        at = self._next()
        if at is None:
            raise ValueError("All volumes of the folder have labels, or were skipped.")
        self.open(at)

    def open(self, number: int) -> None:
        """Open a volume of the list, and have masks proposed; ValueError when it cannot be."""
        if not self._leave():
            return
        files = self._files[number]
        dock = self._open_dock(self._viewer)
        facts = self._facts()
        if facts is not None:
            name = self.adapter.currentData()
            dock.set_value(replace(dock.value(), model=facts.model, adapter=name))
        try:
            self._case = case = OpenCase.open(self._viewer, dock, files, self)
        except ValueError:
            self._failed.add(files.image)
            self._show()
            raise
        if case is None:
            self._failed.add(files.image)
            self._show()
            return
        self._bar = CaseButtons()
        self._listen(self._bar)
        dock.host(self._bar)
        dock.runner.proposed.connect(self._on_proposed)
        self._show()
        self._begin(case, facts)

    def _begin(self, case: OpenCase, facts: AdapterFacts | None) -> None:
        """Labels that there are, or proposals."""
        earlier, _ = case.dock.keeper.autosave.offer()
        if earlier is not None:
            self.said.emit(f"There is earlier work on {case.name}: resume it in the Segment dock.")
        elif case.files.labels.exists():
            case.show_labels()
            self.said.emit(f"{case.name} has labels: correct them, and add it again.")
        elif facts is not None and facts.priors:
            case.dock.runner.propose()
            self.said.emit(f"{case.name}: masks are being proposed.")
        else:
            self.said.emit(f"{case.name}: click on its objects in the Segment dock.")

    def add(self) -> None:
        """Write the labels of the volume and add it to the training set.

        Raises
        ------
        ValueError, OSError
            With one sentence, when there is nothing to write, or it cannot be written.
        """
        case = self._case
        if case is None or not case.here:
            raise ValueError("No volume is open: open the next case first.")
        if case.busy:
            raise ValueError("A mask is still being computed: wait for it, or cancel it.")
        objects = case.objects()
        if not objects:
            raise ValueError(f"{case.name} has no mask yet: segment something, or skip it.")
        answer = values_of(objects, classes_of(self._pairs.value(), self._facts()), self._ask)
        if answer is None:
            return
        path = case.files.labels
        if path.exists() and not questions.allow(
            f"{path.name} exists already.", "Replace", self._front()
        ):
            return
        try:
            pair, notes = case.save(*answer)
        except background.Cancelled:
            return
        self._added = True
        self._pairs.add_pair(pair)
        _, names = answer
        what = ", ".join(names[value] for value in sorted(names))
        self.said.emit(" ".join([f"Added {case.name}{f' ({what})' if what else ''}.", *notes]))
        self._show()

    def skip(self) -> None:
        """Close the volume, and open the next one; ValueError when there is none."""
        case = self._case
        if case is None or not self._leave():
            return
        self._skipped.add(case.files.image)
        self._show()
        if self._next() is not None:
            self.open_next()

    def _next(self) -> int | None:
        """The next volume without labels after the one that is open, or before it."""
        count = len(self._files)
        here = self._case.files if self._case is not None else None
        first = self._files.index(here) + 1 if here in self._files else 0
        left_out = self._skipped | self._failed
        for at in (number % count for number in range(first, first + count)):
            files = self._files[at]
            if files != here and files.image not in left_out and not files.labels.exists():
                return at
        return None

    def _leave(self) -> bool:
        """Close the volume that is open, unless the user wants to keep what is not saved."""
        case = self._case
        if case is not None:
            text = (
                f"The masks of {case.name} were not added to the training set.\nThey are offered "
                "again when it is opened again in the Segment dock."
            )
            if case.changed and not questions.allow(text, "Close it", self._front()):
                return False
            case.close()
        self._drop_bar()
        self._case, self._added = None, False
        self._show()
        return True

    def _ask(self, number: int, named: tuple[str, ...]) -> str | None:
        """Which class an object is of; None when the user does not say."""
        assert self._case is not None
        options = [*named, OWN]
        title = self._case.dock.session.title(number)
        at = questions.choose(f"What is {title}?", options, self._front())
        return None if at is None else options[at]

    def _facts(self) -> AdapterFacts | None:
        """Of the chosen adapter; ValueError when its file is damaged."""
        name = self.adapter.currentData()
        return read_facts(adapter_file(name)) if name else None

    def _front(self) -> QWidget:
        """Who asks: the dock in which the user is at work."""
        bar = self._bar
        return bar if bar is not None and isalive(bar) and bar.isVisible() else self

    def _listen(self, buttons: CaseButtons) -> None:
        buttons.next_requested.connect(self._guarded(self.open_next))
        buttons.add_requested.connect(self._guarded(self.add))
        buttons.skip_requested.connect(self._guarded(self.skip))

    def _drop_bar(self) -> None:
        case, bar = self._case, self._bar
        if case is not None and isalive(case.dock):
            case.dock.runner.proposed.disconnect(self._on_proposed)
        if bar is not None and isalive(bar):
            bar.setParent(None)
            bar.deleteLater()
        self._bar = None

    def _on_proposed(self) -> None:
        if self._case is not None:
            self._case.settle_found()

    def _on_removed(self, _: Any) -> None:
        if self._case is not None and not self._case.here:
            self._show()

    def _on_folder(self) -> None:
        folder = (*get_open_history(), str(Path.home()))[0]
        chosen = QFileDialog.getExistingDirectory(self, "Folder of volumes", folder)
        if chosen:
            self.set_folder(Path(chosen))

    def _on_again(self) -> None:
        facts = self._facts()
        model = "" if facts is None else facts.model
        self.train_requested.emit(model, self.adapter.currentData())

    def _show_adapters(self, _: str = "") -> None:
        chosen, names = self.adapter.currentData(), adapter_names()
        newest = max(names, key=lambda name: adapter_file(name).stat().st_mtime, default="")
        self.adapter.clear()
        self.adapter.addItem(PLAIN, "")
        for name in names:
            self.adapter.addItem(name, name)
        wanted = newest if chosen is None else chosen
        self.adapter.setCurrentIndex(max(0, self.adapter.findData(wanted)))

    def _show(self) -> None:
        case = self._case if self._case is not None and self._case.here else None
        states = [self._state(files) for files in self._files]
        self.list.set_value([nifti_stem(it.image.name) for it in self._files], states)
        text = ""
        if case is not None:
            number = self._files.index(case.files) + 1
            text = f"Case {number} of {len(self._files)}: {case.name}"
            text += ", added to the training set" * self._added
        for buttons in (self.buttons, self._bar):
            if buttons is not None and isalive(buttons):
                more = self._next() is not None if self._files else False
                buttons.set_state(text, case is not None, self._added, more)
        pairs = len(self._pairs.value())
        self.again.setText(f"Train again with {pairs} pair{'s' * (pairs != 1)}")
        self.again.setVisible(self._added or not self.again.isHidden())

    def _state(self, files: PairFiles) -> str:
        if self._case is not None and files == self._case.files and self._case.here:
            return "done" if self._added else "open"
        if files.labels.exists():
            return "done"
        if files.image in self._failed:
            return "failed"
        return "skipped" if files.image in self._skipped else ""

    def _guarded(self, action: Callable[..., Any]) -> Callable[..., None]:
        """An action that says why it cannot be done."""

        def run(*args: Any) -> None:
            try:
                action(*[it for it in args if not isinstance(it, bool)])  # of clicked
            except (ValueError, OSError) as error:
                self.refused.emit(str(error))

        return run
