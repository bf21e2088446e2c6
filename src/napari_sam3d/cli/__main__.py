"""`python -m napari_sam3d.cli` is `napari-sam3d`."""

import sys

from napari_sam3d.cli import main

sys.exit(main())
