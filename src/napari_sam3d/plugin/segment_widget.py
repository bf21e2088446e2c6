"""The Segment dock: choose an image, drop points, see the mask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from magicgui.widgets import ComboBox
from napari.layers import Image
from napari.utils.notifications import show_error
from qtpy.QtCore import QEvent, Qt, QTimer
from qtpy.QtWidgets import QLabel, QShortcut, QVBoxLayout, QWidget

from napari_sam3d.catalog import ModelSpec, model_spec
from napari_sam3d.plugin.adding import ask_and_add
from napari_sam3d.plugin.autosave import Autosave
from napari_sam3d.plugin.availability import describe, takes_clicks
from napari_sam3d.plugin.controls import KEYS, Controls, State
from napari_sam3d.plugin.cursor import follow
from napari_sam3d.plugin.exporting import ask_and_save
from napari_sam3d.plugin.form import SettingsForm
from napari_sam3d.plugin.hand_controls import HandControls
from napari_sam3d.plugin.model_list import ModelList, model_choices
from napari_sam3d.plugin.opening import choose_and_open
from napari_sam3d.plugin.overview import Overview
from napari_sam3d.plugin.prompt_io import ask_and_load_prompts, ask_and_save_prompts
from napari_sam3d.plugin.resume_bar import Keeper
from napari_sam3d.plugin.runner import Runner
from napari_sam3d.plugin.session import Session
from napari_sam3d.settings import InferenceSettings

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_sam3d.plugin.loading import Load


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
        self.images = ComboBox(label="Image", choices=self._image_layers, nullable=True)
        self.images.tooltip = "The 3D image whose objects are segmented"
        self.form = SettingsForm(
            InferenceSettings(),
            choices={
                "model": model_choices,
                "device": ("auto", "cpu", "cuda", "mps"),
            },
        )
        self._model_list = ModelList(self.form.row("model"))
        rows = (self.images, *self.form.rows)
        self.controls = Controls([(row.label, row.native) for row in rows])
        self.keeper = Keeper(self.session, Autosave(self.session, self.value), parent=self)
        layout = QVBoxLayout(self)
        layout.addWidget(self.keeper.bar)
        layout.addWidget(self.controls)
        self.hand = HandControls(self.session)
        self.controls.add_section(self.hand)
        layout.addStretch(1)
        self.overview = Overview(self.session)
        self.controls.add_section(self.overview)
        self.cursor = QLabel()
        self.cursor.setWordWrap(True)  # in a narrow dock it takes two lines
        self.cursor.setToolTip("Where the cursor is in the patient, and in the file")
        layout.addWidget(self.cursor)
        self._cursor_text = follow(napari_viewer)
        self.runner = Runner(self.session, self.value(), load, parent=self)
        self._layers = QTimer(self, singleShot=True, interval=0)
        self._layers.timeout.connect(self._on_layers)
        self._keys = self._bind_keys()
        self._connect()
        self._open = True
        self._set_model(model_spec(self.value().model))
        self._show_state()
        self._refresh_images()
        self._choose_image(show_error)

    def value(self) -> InferenceSettings:
        return self.form.value()

    def set_value(self, settings: InferenceSettings) -> None:
        """Use other settings; ValueError for a model that does not exist."""
        model_spec(settings.model)
        self.form.set_value(settings)

    def teardown(self) -> None:
        """Stop the thread, and take everything but the masks out of the viewer."""
        self.runner.stop()
        self.hand.teardown()
        self.overview.stop()
        self._layers.stop()
        for event in _layer_events(self._viewer):
            event.disconnect(self._on_layers_event)
        for key in self._keys:
            self._viewer.bind_key(key, None)
        self._cursor_text.changed.disconnect(self._show_cursor)
        self._cursor_text.image = None
        self.keeper.close()
        self.session.close()

    def event(self, event: QEvent) -> bool:
        # napari tells the content of a closed dock only by taking its parent away
        if event.type() == QEvent.Type.ParentChange and self.parent() is None and self._open:
            self._open = False
            self.teardown()
        return super().event(event)

    def _connect(self) -> None:
        session, controls, runner = self.session, self.controls, self.runner
        for event in _layer_events(self._viewer):
            event.connect(self._on_layers_event)
        self.images.changed.connect(self._on_image_chosen)
        self.form.changed.connect(self._on_settings)
        session.changed.connect(self._show_state)
        session.notice.connect(self._say)
        controls.positive_changed.connect(session.set_positive)
        controls.object_chosen.connect(self._guarded(session.select))
        controls.new_requested.connect(self._guarded(session.new_object))
        controls.undo_requested.connect(self._guarded(session.undo))
        controls.redo_requested.connect(self._guarded(session.redo))
        controls.clear_requested.connect(self._guarded(session.clear))
        controls.auto.toggled.connect(self._on_auto)
        controls.segment_requested.connect(self._guarded(runner.run))
        controls.cancel_requested.connect(runner.cancel)
        controls.open_requested.connect(self._on_open)
        controls.add_weights_requested.connect(self._guarded(self._on_add_weights))
        controls.save_requested.connect(self._on_save)
        controls.save_prompts_requested.connect(self._prompts(ask_and_save_prompts))
        controls.load_prompts_requested.connect(self._prompts(ask_and_load_prompts))
        self._cursor_text.changed.connect(self._show_cursor)
        self.overview.said.connect(self._say)
        self.overview.refused.connect(self._refuse)
        runner.said.connect(self._say)
        runner.refused.connect(self._refuse)
        runner.busy_changed.connect(self._on_busy)
        self.keeper.watch(self.form.changed, runner.busy_changed)
        self.keeper.said.connect(self._say)
        self.keeper.refused.connect(self._refuse)
        self.keeper.settings_resumed.connect(self.set_value)
        runner.progressed.connect(controls.set_progress)
        # a closed viewer destroys the dock without a word to `event`
        self.destroyed.connect(runner.worker.stop)
        self.destroyed.connect(self.keeper.autosave.close)

    def _bind_keys(self) -> list[str]:
        """Bind our keys in the viewer, except one that somebody else has bound before."""
        actions = {
            "new": self.controls.new.click,
            "kind": self.controls.switch_kind,
            "cancel": self.controls.cancel.click,
        }
        here = Qt.ShortcutContext.WidgetWithChildrenShortcut
        QShortcut(KEYS["cancel"], self, self.runner.cancel, context=here)
        bound = []
        for name, action in actions.items():
            try:
                self._viewer.bind_key(KEYS[name], lambda viewer, action=action: action())
            except ValueError:
                continue
            bound.append(KEYS[name])
        return bound

    # the image

    def _image_layers(self, *_: Any) -> list[Image]:
        return [layer for layer in self._viewer.layers if isinstance(layer, Image)]

    def _on_layers_event(self, *_: Any) -> None:
        # napari is in the middle of a change: look at the result, not at the way
        self._layers.start()

    def _on_layers(self) -> None:
        self._refresh_images()
        if self.session.image is None:
            self._choose_image(self._say)

    def _refresh_images(self) -> None:
        with self.images.changed.blocked():
            self.images.reset_choices()
            self.images.value = self.session.image

    def _choose_image(self, complain: Callable[[str], object]) -> None:
        """Take the selected image, else the first that can be segmented."""
        active = self._viewer.layers.selection.active
        images = self._image_layers()
        images.sort(key=lambda layer: layer != active)
        errors = []
        for image in images:
            try:
                self._set_image(image)
                return
            except ValueError as error:
                errors.append(str(error))
        if errors:
            complain(errors[0])
        self.controls.set_status(errors[0] if errors else "Open a 3D image to begin.")

    def _on_image_chosen(self, image: Image | None) -> None:
        try:
            self._set_image(image)
        except ValueError as error:
            self._refuse(str(error))
            self._refresh_images()

    def _set_image(self, image: Image | None) -> None:
        self.session.set_image(image)
        self._refresh_images()
        self._warm()

    # the model

    def _warm(self) -> None:
        if self.session.image is not None:
            self.runner.warm()

    def _on_settings(self, settings: InferenceSettings) -> None:
        spec = model_spec(settings.model)
        if spec != self._spec:
            self._set_model(spec)
            self._say(describe(spec))
        self.runner.set_settings(settings)
        self._warm()

    def _set_model(self, spec: ModelSpec) -> None:
        self._spec = spec
        self.session.set_model(spec)
        self.controls.set_takes(takes_clicks(spec), "background" in spec.prompts)
        (slices,) = (row for row in self.form.rows if row.name == "slices")
        self.controls.show_row(slices.native, spec.way == "slices")
        self._model_list.refresh()

    def _on_busy(self, busy: bool) -> None:
        self.controls.set_busy(busy)
        self._model_list.look_at(self._spec)  # they may have come

    def _on_add_weights(self) -> None:
        name = ask_and_add(self.value().model, self)
        if name:
            self.runner.worker.forget()
            self._model_list.refresh()
            self.set_value(replace(self.value(), model=name))
            self._say(f"Added the weights. {describe(model_spec(name))}")
            self._warm()

    def _on_auto(self, auto: bool) -> None:
        self.runner.auto = auto

    # files

    def _on_open(self) -> None:
        choose_and_open(self._viewer, self)

    def _on_save(self) -> None:
        self.keeper.watch_saving(ask_and_save(self._viewer, self.session.labels, self))

    def _show_cursor(self, text: str) -> None:
        self.cursor.setText(text)

    # words

    def _guarded(self, action: Callable) -> Callable:
        def run(*args: Any) -> None:
            try:
                action(*args)
            except (ValueError, OSError) as error:
                self._refuse(str(error))

        return run

    def _prompts(self, act: Callable[[Session, QWidget], str]) -> Callable:
        def run() -> None:
            sentence = act(self.session, self)
            if sentence:
                self._say(sentence)

        return self._guarded(run)

    def _refuse(self, sentence: str) -> None:
        self.controls.set_status(sentence)
        show_error(sentence)

    def _say(self, sentence: str) -> None:
        self.controls.set_status(sentence)
        self._viewer.status = sentence

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
                has_image=session.image is not None,
            )
        )
        self._cursor_text.image = session.image


def _layer_events(viewer: ViewerModel) -> tuple:
    events = viewer.layers.events
    return events.inserted, events.removed, events.reordered, events.renamed
