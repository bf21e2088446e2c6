"""What the tests share: the user's settings are left alone."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator

import pytest

# before napari is imported: its settings are read once
os.environ["NAPARI_CONFIG"] = os.path.join(tempfile.mkdtemp(), "settings.yaml")


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Small networks run fastest on one thread, above all beside other tests."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
