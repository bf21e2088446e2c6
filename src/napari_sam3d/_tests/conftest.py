"""What the tests share: the user's settings are left alone."""

from __future__ import annotations

import os
import tempfile

# before napari is imported: its settings are read once
os.environ["NAPARI_CONFIG"] = os.path.join(tempfile.mkdtemp(), "settings.yaml")
