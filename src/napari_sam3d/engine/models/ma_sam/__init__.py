"""MA-SAM: SAM's 2D encoder with 3D adapters between its slices (Chen et al., 2024)."""

from napari_sam3d.engine.models.ma_sam.model import MaSam as MaSam
from napari_sam3d.engine.models.ma_sam.release import from_release as from_release
from napari_sam3d.engine.models.ma_sam.release import infer_sizes as infer_sizes
from napari_sam3d.engine.models.ma_sam.release import state_sizes as state_sizes
from napari_sam3d.engine.models.ma_sam.release import to_release as to_release
from napari_sam3d.engine.models.ma_sam.volume import segment_slices as segment_slices
from napari_sam3d.engine.models.ma_sam.volume import segment_volume as segment_volume
