"""Rows of magicgui widgets for a settings dataclass."""

from __future__ import annotations

import ast
import inspect
import itertools
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any, Generic, TypeVar, cast

from magicgui.widgets import Widget, create_widget
from psygnal import Signal

T = TypeVar("T")


class SettingsForm(Generic[T]):
    """Shows a frozen dataclass of settings, one row per field.

    The field gives the default, its metadata the range or the choices and a label where the name
    does not read well, and the string under it the tooltip: nothing is declared twice.

    Parameters
    ----------
    value
        The settings to begin with.
    choices
        Choices of fields whose metadata has none, by field name: values, or a function of the
        widget that returns them, with their texts, whenever `reset_choices` asks.
    sliders
        Names of fields with a range that are dragged.
    """

    changed = Signal(object)
    """The new settings."""

    def __init__(
        self,
        value: T,
        choices: Mapping[str, Sequence | Callable] | None = None,
        sliders: Sequence[str] = (),
    ) -> None:
        self._type = type(value)
        self._last = value
        help_texts = field_help(self._type)
        self.rows: list[Widget] = []
        for it in fields(cast("Any", value)):
            options = dict(it.metadata)
            label = options.pop("label", it.name.replace("_", " ").capitalize())
            if choices and it.name in choices:
                options["choices"] = choices[it.name]
            if it.name in sliders:
                options["widget_type"] = "FloatSlider"
            value_now = getattr(value, it.name)
            if isinstance(value_now, bool):  # a tick box bears its words itself
                options["text"], label = label, ""
            row = create_widget(value_now, name=it.name, options=options)
            row.label = label
            row.tooltip = help_texts.get(it.name, "")
            row.changed.connect(self._on_changed)
            self.rows.append(row)

    def row(self, name: str) -> Widget:
        """The widget of a field."""
        return next(row for row in self.rows if row.name == name)

    def value(self) -> T:
        return self._type(**{row.name: row.value for row in self.rows})

    def set_value(self, value: T) -> None:
        """Show other settings; ValueError when a value is not among the choices."""
        for row in self.rows:
            with row.changed.blocked():
                row.value = getattr(value, row.name)
        self._on_changed()

    def _on_changed(self) -> None:
        value = self.value()
        if value != self._last:
            self._last = value
            self.changed.emit(value)


def field_help(settings: type) -> dict[str, str]:
    """The strings written under the fields of a dataclass, by field name."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(settings))).body
    body = tree.body if isinstance(tree, ast.ClassDef) else []
    return {
        row.target.id: inspect.cleandoc(text.value.value)
        for row, text in itertools.pairwise(body)
        if isinstance(row, ast.AnnAssign)
        and isinstance(row.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }
