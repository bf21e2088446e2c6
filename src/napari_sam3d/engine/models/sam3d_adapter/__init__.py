"""3DSAM-adapter (Gong et al. 2023): SAM turned to volumes, prompted by points or automatic.

Written from the paper and from measured facts of the released code, which has no licence.
"""

from napari_sam3d.engine.models.sam3d_adapter.automatic import (
    AutomaticSam3DAdapter as AutomaticSam3DAdapter,
)
from napari_sam3d.engine.models.sam3d_adapter.automatic import (
    segment_automatically as segment_automatically,
)
from napari_sam3d.engine.models.sam3d_adapter.model import Sam3DAdapter as Sam3DAdapter
from napari_sam3d.engine.models.sam3d_adapter.release import from_release as from_release
from napari_sam3d.engine.models.sam3d_adapter.release import (
    initialise_from_sam as initialise_from_sam,
)
from napari_sam3d.engine.models.sam3d_adapter.release import release_sizes as release_sizes
from napari_sam3d.engine.models.sam3d_adapter.release import to_release as to_release
