"""SAM on the slices of a volume, the mask carried from each slice to the next."""

from napari_sam3d.engine.models.sam_slices.model import SliceMask as SliceMask
from napari_sam3d.engine.models.sam_slices.model import SlicePrompts as SlicePrompts
from napari_sam3d.engine.models.sam_slices.model import SliceSam as SliceSam
from napari_sam3d.engine.models.sam_slices.propagate import SliceStep as SliceStep
from napari_sam3d.engine.models.sam_slices.propagate import VolumeMask as VolumeMask
from napari_sam3d.engine.models.sam_slices.propagate import VolumePrompts as VolumePrompts
from napari_sam3d.engine.models.sam_slices.propagate import segment_steps as segment_steps
from napari_sam3d.engine.models.sam_slices.release import from_release as from_release
from napari_sam3d.engine.models.sam_slices.release import infer_sizes as infer_sizes
from napari_sam3d.engine.models.sam_slices.slices import VolumeSlices as VolumeSlices
