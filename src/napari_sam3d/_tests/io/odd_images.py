"""Rare and unusual files that can be read, and what they have to show."""

from __future__ import annotations

import gzip
import struct

import numpy as np

from napari_sam3d._tests.io.odd_files import (
    FLAG,
    GOOD,
    INF,
    NAN,
    VOXELS,
    WHOLE,
    ZIPPED,
    Odd,
    intel80,
    many_zeros,
    nifti2,
    quadruple,
    shown,
    typed,
)
from napari_sam3d._tests.nifti_files import AFFINE, SHAPE, header, nifti, numbers, turn

COMMENT = struct.pack("<ii", 48, 6) + b"hello".ljust(40, b"\0")
FRAMES = np.stack([WHOLE, WHOLE + 1000, WHOLE + 2000], -1)
SERIES_2X3 = np.stack([FRAMES, -FRAMES], 3)  # i, j, k, 2 time points, 3 components
SPECIAL = WHOLE.astype("f4")
SPECIAL.ravel(order="K")[:3] = NAN, INF, -INF
COMPLEX = (3 * WHOLE + 4j * WHOLE).astype("c8")  # of magnitude 5 n
COLORS = np.stack([WHOLE % 256, WHOLE % 128, WHOLE % 64], 0).astype("u1")
ALPHA = np.concatenate([COLORS, np.full((1, *SHAPE), 255, "u1")])
LABELS = (WHOLE % 5).astype("u1")
THIN = np.arange(80000, dtype="u1").reshape((40000, 2, 1), order="F")


def colored(planes: np.ndarray) -> np.ndarray:
    """What is displayed of colours: last."""
    return np.stack([shown(plane) for plane in planes], -1)


READ = {
    # --- the container
    "two-members.nii.gz": Odd(
        gzip.compress(GOOD[:500]) + gzip.compress(GOOD[500:]), shows=shown(WHOLE)
    ),
    "padded.nii.gz": Odd(ZIPPED + bytes(512), shows=shown(WHOLE)),  # as tapes pad with zeros
    "UPPER.NII.GZ": Odd(ZIPPED, shows=shown(WHOLE)),
    "junk.nii.gz": Odd(ZIPPED + b"junk" * 99, "extra data", shown(WHOLE)),
    "longer.nii.gz": Odd(gzip.compress(GOOD + b"more"), "extra data", shown(WHOLE)),
    "tail-of-zeros.nii.gz": Odd(ZIPPED + many_zeros(4096), shows=shown(WHOLE)),
    "plain.nii.gz": Odd(GOOD, "unlike its name", shown(WHOLE)),
    "zipped.nii": Odd(ZIPPED, "unlike its name", shown(WHOLE)),
    # --- the header
    "half-magic.nii": Odd(nifti(magic=b"ni1\0"), "half", shown(WHOLE)),
    "bits.nii": Odd(nifti(bits=8), "bits per voxel", shown(WHOLE)),
    "offset-0.nii": Odd(nifti(vox_offset=0), "352", shown(WHOLE)),
    "offset-356.nii": Odd(header(vox_offset=356) + bytes(8) + VOXELS, shows=shown(WHOLE)),
    "comment.nii": Odd(header(vox_offset=400) + FLAG + COMMENT + VOXELS, shows=shown(WHOLE)),
    "flag-only.nii": Odd(header() + FLAG + VOXELS, shows=shown(WHOLE)),
    "comment-too-long.nii": Odd(
        header(vox_offset=400) + FLAG + struct.pack("<ii", 1 << 20, 6) + bytes(40) + VOXELS,
        "extensions are damaged",
        shown(WHOLE),
    ),
    "comment-negative.nii": Odd(
        header(vox_offset=400) + FLAG + struct.pack("<ii", -48, 6) + bytes(40) + VOXELS,
        "extensions are damaged",
        shown(WHOLE),
    ),
    # --- NIfTI-2, the other byte order, pairs
    "two.nii": Odd(nifti2((3, *SHAPE)) + VOXELS, shows=shown(WHOLE)),
    "two-big.nii": Odd(
        nifti2((3, *SHAPE), endian=">") + WHOLE.astype(">i2").tobytes("F"), shows=shown(WHOLE)
    ),
    "two-long.nii": Odd(nifti2((3, 40000, 2, 1), 2, 8) + THIN.tobytes("F"), shows=shown(THIN)),
    "big.nii.gz": Odd(gzip.compress(nifti(endian=">")), shows=shown(WHOLE)),
    "big-float.nii": Odd(nifti(dtype="f4", endian=">"), shows=shown(WHOLE.astype("f4"))),
    "pair.hdr": Odd(
        header(magic=b"ni1\0", vox_offset=0), shows=shown(WHOLE), beside={"pair.img": VOXELS}
    ),
    "pair.img": Odd(
        VOXELS, shows=shown(WHOLE), beside={"pair.hdr": header(magic=b"ni1\0", vox_offset=0)}
    ),
    "zipped-pair.hdr.gz": Odd(
        gzip.compress(header(magic=b"ni1\0", vox_offset=0)),
        shows=shown(WHOLE),
        beside={"zipped-pair.img.gz": gzip.compress(VOXELS)},
    ),
    "moved-pair.hdr": Odd(
        header(magic=b"ni1\0", vox_offset=64),
        shows=shown(WHOLE),
        beside={"moved-pair.img": bytes(64) + VOXELS},
    ),
    "analyze.hdr": Odd(
        header(magic=bytes(4), vox_offset=0, codes=(0, 0)),
        "ANALYZE",
        np.flip(WHOLE, (1, 2)).transpose(2, 1, 0),  # by custom stored from right to left
        beside={"analyze.img": VOXELS},
    ),
    # --- dimensions
    "flat.nii": Odd(nifti(WHOLE[..., 0]), shows=shown(WHOLE[..., :1])),
    "slice.nii": Odd(nifti(WHOLE[..., :1]), shows=shown(WHOLE[..., :1])),
    "wall.nii": Odd(nifti(WHOLE[:1]), shows=shown(WHOLE[:1])),
    "dot.nii": Odd(nifti(WHOLE[:1, :1, :1]), shows=shown(WHOLE[:1, :1, :1])),
    "frames.nii.gz": Odd(gzip.compress(nifti(FRAMES)), shows=shown(FRAMES), axes="T"),
    "frames.nii": Odd(nifti(FRAMES), shows=shown(FRAMES), axes="T"),
    "one-frame.nii": Odd(nifti(dim=(4, *SHAPE, 1)), shows=shown(WHOLE)),
    "vector.nii": Odd(nifti(FRAMES[..., None, :], intent=1007), shows=shown(FRAMES), axes="C"),
    "displacement.nii": Odd(
        nifti(FRAMES[..., None, :].astype("f4"), intent=1006),
        shows=shown(FRAMES.astype("f4")),
        axes="C",
    ),
    "five.nii": Odd(nifti(SERIES_2X3), "five dimensions", shown(SERIES_2X3), axes="CT"),
    "seven.nii": Odd(nifti(dim=(7, *SHAPE, 1, 1, 1, 1)), shows=shown(WHOLE)),
    # --- numbers
    **{
        f"type-{kind}.nii": Odd(nifti(dtype=kind), shows=shown(numbers(dtype=kind)))
        for kind in ("u1", "u2", "i4", "i8", "f4", "f8")
    },
    "type-i1.nii": Odd(nifti(LABELS.astype("i1")), shows=shown(LABELS.astype("i1"))),
    "type-u4.nii": Odd(typed(WHOLE.astype("u4"), 768, 32), shows=shown(WHOLE.astype("u4"))),
    "type-u8.nii": Odd(
        typed(WHOLE.astype("u8") << np.uint64(40), 1280, 64),
        shows=shown(WHOLE.astype("u8") << np.uint64(40)),
    ),
    "intel-128.nii": Odd(
        header(code=1536, bits=128) + bytes(4) + b"".join(map(intel80, range(-9, 201))),
        "128-bit",
        shown(np.arange(-9.0, 201).reshape(SHAPE, order="F")),
    ),
    "quadruple.nii": Odd(
        header(code=1536, bits=128) + bytes(4) + b"".join(map(quadruple, range(-9, 201))),
        "128-bit",
        shown(np.arange(-9.0, 201).reshape(SHAPE, order="F")),
    ),
    "complex.nii": Odd(typed(COMPLEX, 32, 64), "magnitude", shown(5 * WHOLE.astype("f4"))),
    "complex-128.nii": Odd(
        typed(COMPLEX.astype("c16"), 1792, 128), "magnitude", shown(5 * WHOLE.astype("f8"))
    ),
    "rgb.nii": Odd(
        header(code=128, bits=24) + bytes(4) + COLORS.tobytes("F"), shows=colored(COLORS), rgb=True
    ),
    "rgba.nii.gz": Odd(
        gzip.compress(header(code=2304, bits=32) + bytes(4) + ALPHA.tobytes("F")),
        shows=colored(ALPHA),
        rgb=True,
    ),
    "special.nii": Odd(nifti(SPECIAL), shows=shown(SPECIAL)),
    "undefined.nii": Odd(nifti(SPECIAL * NAN), shows=shown(SPECIAL * NAN)),
    "constant.nii": Odd(nifti(WHOLE * 0 + 7), shows=shown(WHOLE * 0 + 7)),
    "enormous.nii": Odd(nifti(WHOLE * 1e300), shows=shown(WHOLE * 1e300)),
    # --- scaling
    **{
        f"scaling-{name}.nii": Odd(nifti(scaling=scaling), says, shown(values))
        for name, scaling, says, values in [
            ("none", (0, 5), "", WHOLE),
            ("nan", (NAN, 0), "", WHOLE),
            ("nan-both", (NAN, NAN), "", WHOLE),
            ("inf", (INF, 0), "scaling is damaged", WHOLE),
            ("nan-inter", (1, NAN), "scaling is damaged", WHOLE),
            ("identity", (1, 0), "", WHOLE),
            ("hounsfield", (1, -1024), "", WHOLE.astype("f4") - 1024),
            ("twice", (2, 0.5), "", WHOLE.astype("f4") * 2 + np.float32(0.5)),
            ("negative", (-1, 0), "", -WHOLE.astype("f4")),
            ("tiny", (1e-30, 0), "", WHOLE.astype("f4") * np.float32(1e-30)),
        ]
    },
    "complex-scaled.nii": Odd(
        typed(COMPLEX, 32, 64, scaling=(2, 0)), "magnitude", shown(10 * WHOLE.astype("f4"))
    ),
    # --- labels
    "intent.nii": Odd(nifti(LABELS, intent=1002), shows=shown(LABELS), labels=True),
    "case_seg.nii.gz": Odd(gzip.compress(nifti(LABELS)), shows=shown(LABELS), labels=True),
    "whole-floats.nii": Odd(
        nifti(LABELS.astype("f4"), intent=1002), shows=shown(LABELS.astype("f4")), labels=True
    ),
    "halves.nii": Odd(
        nifti(LABELS.astype("f4") / 2, intent=1002), "not all values", shown(LABELS / np.float32(2))
    ),
    "scaled_mask.nii": Odd(
        nifti(LABELS, scaling=(0.25, 0)), shows=shown(LABELS * np.float32(0.25))
    ),
    "negative_labels.nii": Odd(nifti(WHOLE - 99), shows=shown(WHOLE - 99), labels=True),
    "atlas.nii": Odd(
        nifti(WHOLE.astype("i8") << 40, intent=1002),
        shows=shown(WHOLE.astype("i8") << 40),
        labels=True,
    ),
}

SHEARED = AFFINE + np.array([[0, 0.5, 0, 0]] + [[0] * 4] * 3)
SIDEWAYS = np.array([[0, 0, -3, 10], [2, 0, 0, 5], [0, 1.5, 0, -7], [0, 0, 0, 1.0]])  # A, S, L


def lying(affine: np.ndarray, **fields) -> bytes:
    return nifti(sform=affine, **fields)


PLACED = {
    "right.nii": Odd(nifti(), first_ras=(-20, 30, -40)),
    "qform.nii": Odd(nifti(codes=(1, 0)), affine_source="qform", first_ras=(-20, 30, -40)),
    "neither.nii": Odd(
        nifti(codes=(0, 0)), "no orientation", affine_source="pixdim", first_ras=(4, -3.75, -9)
    ),
    "uncoded.nii": Odd(
        nifti(codes=(1, 0), sform=AFFINE * 7), affine_source="qform", first_ras=(-20, 30, -40)
    ),
    "both-differ.nii": Odd(
        nifti(codes=(1, 1), offset_mm=(-10, 30, -40)), "differ", first_ras=(-20, 30, -40)
    ),
    "sheared.nii": Odd(lying(SHEARED), "right angles", first_ras=(-20, 30, -40)),
    "hardly-sheared.nii": Odd(lying(AFFINE + (SHEARED - AFFINE) * 1e-5), first_ras=(-20, 30, -40)),
    "oblique.nii": Odd(lying(turn((0, 0, 90)) @ AFFINE), first_ras=(-30, -20, -40)),
    "hardly-oblique.nii": Odd(lying(turn((1e-5, 0, 0)) @ AFFINE), first_ras=(-20, 30, -40)),
    "45.nii": Odd(lying(turn((45, 0, 0)) @ AFFINE), first_ras=(-20, 49.497475, -7.071068)),
    "from-left.nii": Odd(lying(np.diag([-1, -1, 1, 1]) @ AFFINE), first_ras=(20, -30, -40)),
    "left-handed.nii": Odd(lying(np.diag([-1, 1, 1, 1]) @ AFFINE), first_ras=(20, 30, -40)),
    "sideways.nii": Odd(lying(SIDEWAYS), first_ras=(10, 5, -7)),
    "zero-sform.nii": Odd(
        lying(AFFINE * 0), "damaged", affine_source="pixdim", first_ras=(4, -3.75, -9)
    ),
    "nan-sform.nii": Odd(
        lying(AFFINE * NAN, codes=(1, 1)),
        "damaged",
        affine_source="qform",
        first_ras=(-20, 30, -40),
    ),
    "qfac.nii": Odd(
        nifti(codes=(1, 0), pixdim=(-1, 2, 1.5, 3)), affine_source="qform", first_ras=(-20, 30, -40)
    ),
    "qfac-0.nii": Odd(
        nifti(codes=(1, 0), pixdim=(0, 2, 1.5, 3)), affine_source="qform", first_ras=(-20, 30, -40)
    ),
    "quaternion.nii": Odd(
        nifti(codes=(1, 0), quaternion=(0.9, 0.9, 0.9)),
        "damaged",
        affine_source="pixdim",
        first_ras=(4, -3.75, -9),
    ),
    "pixdim-negative.nii": Odd(
        nifti(codes=(0, 0), pixdim=(1, -2, 1.5, 3)),
        "no orientation",
        affine_source="pixdim",
        first_ras=(4, -3.75, -9),
    ),
    "pixdim-nothing.nii": Odd(
        nifti(codes=(0, 0), pixdim=(1, 0, NAN, INF)),
        "no orientation",
        affine_source="pixdim",
        first_ras=(2, -2.5, -3),
    ),
    "pixdim-other.nii": Odd(nifti(pixdim=(1, 9, 9, 9)), first_ras=(-20, 30, -40)),
    "far.nii": Odd(lying(AFFINE + 1e6 * np.eye(4, k=3)), first_ras=(1e6 - 20, 30, -40)),
    "tiny.nii": Odd(
        lying(AFFINE * 1e-6, pixdim=(1, 2e-6, 1.5e-6, 3e-6)), first_ras=(-2e-5, 3e-5, -4e-5)
    ),
    "metres.nii": Odd(nifti(units=1), first_ras=(-2e4, 3e4, -4e4)),
    "microns.nii": Odd(nifti(units=3), first_ras=(-0.02, 0.03, -0.04)),
    "unitless.nii": Odd(nifti(units=0), first_ras=(-20, 30, -40)),
}
