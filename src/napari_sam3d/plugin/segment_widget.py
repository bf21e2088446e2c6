"""The Segment dock: choose an image, drop points, see the mask."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, Qt
from qtpy.QtWidgets import QHBoxLayout, QLabel, QShortcut, QVBoxLayout, QWidget

from napari_sam3d.catalog import ModelSpec
from napari_sam3d.plugin.canvas.cursor import follow
from napari_sam3d.plugin.dock.controls import Controls, State
from napari_sam3d.plugin.dock.guide import Guide, Progress
from napari_sam3d.plugin.dock.image_choice import ImageChoice
from napari_sam3d.plugin.dock.keys import KEYS, Keys
from napari_sam3d.plugin.dock.model_choice import ModelChoice
from napari_sam3d.plugin.dock.parts import Column
from napari_sam3d.plugin.dock.prompt_tools import PromptTools
from napari_sam3d.plugin.dock.resume_bar import Keeper
from napari_sam3d.plugin.dock.runner import Runner
from napari_sam3d.plugin.dock.sections import Sections
from napari_sam3d.plugin.dock.words import Words
from napari_sam3d.plugin.files.exporting import ask_and_save
from napari_sam3d.plugin.files.opening import choose_and_open, open_sample
from napari_sam3d.plugin.files.prompt_io import ask_and_load_prompts, ask_and_save_prompts
from napari_sam3d.plugin.session.availability import no_clicks, obstacle
from napari_sam3d.plugin.session.session import Session
from napari_sam3d.plugin.unsaved.autosave import Autosave
from napari_sam3d.settings import InferenceSettings

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_sam3d.plugin.thread.loading import Load


class SegmentWidget(QWidget):
    """Dock that ties the viewer's layers, the controls and the worker together.

    Parameters
    ----------
    napari_viewer
        The viewer; napari passes it by this name.
    load
        Loads a predictor, in the worker's thread; the engine's `load_predictor` by default.
    """

    def __init__(self, napari_viewer: ViewerModel, load: Load | None = None) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self.session = Session(napari_viewer)
        self.guide = Guide()
        self.image = ImageChoice(napari_viewer, self.session, self)
        self.model = ModelChoice(self)
        self.images, self.form = self.image.box, self.model.form
        self.runner = Runner(self.session, self.value(), load, parent=self)
        self.keeper = Keeper(self.session, Autosave(self.session, self.value), parent=self)
        self.sections = it = Sections(napari_viewer, self.session, self.model)
        self.hand, self.start_from, self.probability = it.hand, it.start_from, it.probability
        self.overview, self.files = it.overview, it.files
        self._lay_out()
        self.words = Words(self.controls.status, napari_viewer)
        self._cursor_text = follow(napari_viewer).join()
        self._keys = Keys(
            napari_viewer,
            {
                "new": self.controls.new.click,
                "kind": self.controls.switch_kind,
                "cancel": self.controls.cancel.click,
            },
        )
        self._connect()
        self._open = True
        self._show_model(self.model.spec)
        self._show_state()
        self.image.take(self.words.refuse)

    def _lay_out(self) -> None:
        """Everything in the order in which it is used."""
        image = QWidget()
        beside = QHBoxLayout(image)
        beside.setContentsMargins(0, 0, 0, 0)
        beside.addWidget(self.images.native, stretch=1)
        beside.addWidget(self.guide.help)
        tools = PromptTools(self.session)
        self.controls = Controls(
            [
                ("Image", image),
                ("Model", self.model.row.native),
                ("", self.model.adapter),
                ("", self.model.more),
                ("Tool", tools),
                ("", tools.depth),
            ]
        )
        self._guest = QVBoxLayout()
        top = QWidget()
        top.setLayout(self._guest)
        self._guest.setContentsMargins(0, 0, 0, 0)
        column = Column([top, self.keeper.bar, self.guide, self.controls, *self.sections.in_order])
        self.cursor = QLabel()
        self.cursor.setWordWrap(True)  # in a narrow dock it takes two lines
        self.cursor.setToolTip("Where the cursor is in the patient, and in the file")
        layout = QVBoxLayout(self)
        layout.addWidget(column)
        layout.addWidget(self.cursor)

    def value(self) -> InferenceSettings:
        return self.model.value()

    def set_value(self, settings: InferenceSettings) -> None:
        """Use other settings; ValueError for a model that does not exist."""
        self.model.set_value(settings)

    def host(self, widget: QWidget) -> None:
        """Show something of another dock above everything, until it is taken away again."""
        self._guest.addWidget(widget)

    def teardown(self) -> None:
        """Stop the thread, and take everything but the masks out of the viewer."""
        self.runner.stop()
        self.sections.close()
        self.image.close()
        self._keys.close()
        self._cursor_text.changed.disconnect(self._show_cursor)
        self.keeper.close()
        self.session.close()
        self._cursor_text.leave()

    def event(self, event: QEvent) -> bool:
        # napari tells the content of a closed dock only by taking its parent away
        if event.type() == QEvent.Type.ParentChange and self.parent() is None and self._open:
            self._open = False
            self.teardown()
        return super().event(event)

    def _connect(self) -> None:
        session, controls, runner, keeper = self.session, self.controls, self.runner, self.keeper
        words = self.words
        self.image.taken.connect(self._warm)
        self.model.model_changed.connect(self._show_model)
        self.model.changed.connect(self._on_settings)
        self.model.weights_added.connect(runner.worker.forget)
        self.model.add_requested.connect(words.guarded(self._on_add_weights))
        session.changed.connect(self._show_state)
        session.mask_changed.connect(self._show_progress)
        session.notice.connect(words.say)
        controls.positive_changed.connect(session.set_positive)
        controls.object_chosen.connect(words.guarded(session.select))
        controls.new_requested.connect(words.guarded(session.new_object))
        controls.undo_requested.connect(words.guarded(session.undo))
        controls.redo_requested.connect(words.guarded(session.redo))
        controls.clear_requested.connect(words.guarded(session.clear))
        controls.auto.toggled.connect(self._on_auto)
        controls.segment_requested.connect(words.guarded(runner.run))
        controls.cancel_requested.connect(runner.cancel)
        here = Qt.ShortcutContext.WidgetWithChildrenShortcut
        QShortcut(KEYS["cancel"], self, runner.cancel, context=here)
        self.guide.open_requested.connect(self._on_open)
        self.guide.sample_requested.connect(words.guarded(self._on_sample))
        self.files.save_requested.connect(self._on_save)
        self.files.save_prompts_requested.connect(self._prompts(ask_and_save_prompts))
        self.files.load_prompts_requested.connect(self._prompts(ask_and_load_prompts))
        self._cursor_text.changed.connect(self._show_cursor)
        self.sections.speak_by(words)
        for part in (self.image, self.model, runner, keeper):
            part.said.connect(words.say)
        for part in (self.image, self.model, runner, keeper):
            part.refused.connect(words.refuse)
        runner.busy_changed.connect(self._on_busy)
        runner.progressed.connect(controls.set_progress)
        keeper.watch(self.form.changed, runner.busy_changed)
        keeper.settings_resumed.connect(self.set_value)
        # a closed viewer destroys the dock without a word to `event`
        self.destroyed.connect(runner.worker.stop)
        self.destroyed.connect(keeper.autosave.close)

    # the model

    def _warm(self) -> None:
        if self.session.image is not None:
            self.runner.warm()

    def _on_settings(self, settings: InferenceSettings) -> None:
        self.runner.set_settings(settings)
        self._warm()

    def _show_model(self, spec: ModelSpec) -> None:
        self.session.set_model(spec)
        takes = ("foreground" in spec.prompts, "background" in spec.prompts, "box" in spec.prompts)
        self.controls.set_takes(*takes)
        self._obstacle = obstacle(spec)

    def _on_busy(self, busy: bool) -> None:
        self.controls.set_busy(busy)
        self._keys.lend_cancel(self.session.labels if busy else None)
        self.model.look_again()
        self._show_progress()

    def _on_add_weights(self) -> None:
        self.model.ask_for_weights()
        self._obstacle = obstacle(self.model.spec)
        self._warm()

    def _on_auto(self, auto: bool) -> None:
        self.runner.auto = auto

    # files

    def _on_open(self) -> None:
        choose_and_open(self._viewer, self)

    def _on_sample(self) -> None:
        open_sample(self._viewer)

    def _on_save(self) -> None:
        self.keeper.watch_saving(ask_and_save(self._viewer, self.session.labels, self))

    def _show_cursor(self, text: str) -> None:
        self.cursor.setText(text)

    def _prompts(self, act: Callable[[Session, QWidget], str]) -> Callable[[], None]:
        return self.words.guarded(lambda: self.words.say(act(self.session, self)))

    def _show_state(self) -> None:
        session = self.session
        prompts = session.object.prompts
        numbers = sorted({*session.objects, session.current}) if session.image else []
        self.controls.set_state(
            State(
                objects=tuple((n, session.title(n), session.color(n)) for n in numbers),
                current=session.current,
                can_undo=bool(prompts.past),
                can_redo=bool(prompts.future),
                can_clear=session.object.can_clear,
            )
        )
        self._cursor_text.image = session.image
        self._show_progress()

    def _show_progress(self, *_: int) -> None:
        session = self.session
        self.guide.set_progress(
            Progress(
                has_image=session.image is not None,
                obstacle=self._obstacle,
                no_clicks=no_clicks(self.model.spec),
                prompts=len(session.object.prompts.parts),
                masks=sum(it.shown is not None for it in session.objects.values()),
            )
        )
