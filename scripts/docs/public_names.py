"""The reference of what the package itself offers, for mkdocstrings."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import napari_sam3d

README = Path(__file__).parents[2] / "README.md"


def public_names() -> str:
    """One entry for each public name, in the order in which the package lists them."""
    plain = "\n    options:\n      show_attribute_values: false"  # long ones tell nothing here
    return "\n\n".join(f"::: {path}{plain if path.endswith('MODELS') else ''}" for path in paths())


def paths() -> list[str]:
    """Where each public name is defined."""
    found = []
    for name in napari_sam3d.__all__:
        it = getattr(napari_sam3d, name)
        if inspect.isclass(it) or inspect.isfunction(it):
            found.append(f"{it.__module__}.{it.__qualname__}")
        elif not name.startswith("__"):  # a value does not say where it comes from
            found.append(f"napari_sam3d.{napari_sam3d._PUBLIC[name]}.{name}")
    return found


def example() -> str:
    """The example of the README, which a test runs."""
    found = re.search(r"```python\n.*?```", README.read_text("utf-8"), re.DOTALL)
    assert found is not None, "The README has no example in Python."
    return found[0]
