"""Files that are damaged, rare or unusual, packed by hand, and what reading them has to give.

The stored numbers name their own place: i + 5 j + 30 k of 5 x 6 x 7 voxels, unless said otherwise.
"""

from __future__ import annotations

import gzip
import struct
from dataclasses import dataclass, field

import numpy as np

from napari_sam3d._tests.nifti_files import AFFINE, SHAPE, header, nifti, numbers, turn

NAN, INF = float("nan"), float("inf")
WHOLE = numbers()


@dataclass(frozen=True, eq=False)
class Odd:
    """A file and what has to become of it.

    Parameters
    ----------
    content
        Its bytes.
    says
        Words of the sentence that refuses it, or of its warning; no warning when empty.
    shows
        The array as displayed, for a file that can be read.
    beside
        Other files in its folder.
    """

    content: bytes
    says: str = ""
    shows: np.ndarray | None = None
    axes: str = ""
    rgb: bool = False
    labels: bool = False
    affine_source: str = "sform"
    first_ras: tuple[float, ...] | None = None  # of the stored voxel (0, 0, 0)
    beside: dict[str, bytes] = field(default_factory=dict)


def shown(stored: np.ndarray) -> np.ndarray:
    """What is displayed of an array stored toward right, anterior and superior."""
    return np.flip(stored, (0, 1, 2)).transpose(*range(stored.ndim - 1, 2, -1), 2, 1, 0)


def nifti2(dim, code=4, bits=16, vox_offset=544, magic=b"n+2\0\r\n\x1a\n", endian="<") -> bytes:
    """540 bytes of a header and 4 without extensions."""
    dim = (*dim, *[1] * (8 - len(dim)))
    out = struct.pack(
        endian + "i8shh8q3d8dqdd2ddd2q80s24s2i6d12d",
        *(540, magic, code, bits, *dim, 0, 0, 0, 1, 2, 1.5, 3, 1, 1, 1, 1, vox_offset, 1, 0),
        *(0, 0, 0, 0, 0, 0, b"", b"", 0, 1, 0, 0, 0, 0, 0, 0, *AFFINE[:3].ravel()),
    )
    return out + struct.pack(endian + "iii16sb15s", 0, 10, 0, b"", 0, b"") + bytes(4)


def typed(stored: np.ndarray, code: int, bits: int, **fields) -> bytes:
    return nifti(stored, code=code, bits=bits, **fields)


def intel80(value: int) -> bytes:
    """A whole number as "long double" of most machines: 64 bits of fraction, sign, padding."""
    if not value:
        return bytes(16)
    exponent = abs(value).bit_length() - 1
    top = (0x8000 if value < 0 else 0) | (16383 + exponent)
    return struct.pack("<QHHI", abs(value) << (63 - exponent), top, 0, 0)


def quadruple(value: int) -> bytes:
    """A whole number as IEEE's 128 bits."""
    if not value:
        return bytes(16)
    exponent = abs(value).bit_length() - 1
    fraction = (abs(value) << (112 - exponent)) & ((1 << 112) - 1)
    sign = int(value < 0) << 127
    return (sign | (16383 + exponent) << 112 | fraction).to_bytes(16, "little")


def many_zeros(megabytes: int) -> bytes:
    """Gzip members that unpack to zeros, a thousandth of them long."""
    return gzip.compress(bytes(16 << 20), 9, mtime=0) * (megabytes // 16)


GOOD = nifti()
ZIPPED = gzip.compress(GOOD, 6, mtime=0)
HALF = len(ZIPPED) // 2
COMMENT = struct.pack("<ii", 48, 6) + b"hello".ljust(40, b"\0")
FLAG = b"\1\0\0\0"
VOXELS = GOOD[352:]


def flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 0x55]) + content[at + 1 :]


REFUSED = {
    # --- the container
    "nothing.nii": Odd(b"", "empty"),
    "nothing.nii.gz": Odd(b"", "empty"),
    "zipped-nothing.nii.gz": Odd(gzip.compress(b""), "0 bytes"),
    "short-header.nii": Odd(GOOD[:200], "200 bytes"),
    "short-header.nii.gz": Odd(gzip.compress(GOOD[:347]), "347 bytes"),
    "cut-in-header.nii.gz": Odd(ZIPPED[:40], ""),
    "two-bytes.nii.gz": Odd(ZIPPED[:2], ""),
    "cut.nii": Odd(GOOD[:-1], "cut off"),
    "cut.nii.gz": Odd(ZIPPED[: HALF + 99], "cut off"),
    "no-checksum.nii.gz": Odd(ZIPPED[:-8], "cut off"),
    "half-a-checksum.nii.gz": Odd(ZIPPED[:-5], "cut off"),
    "wrong-checksum.nii.gz": Odd(flipped(ZIPPED, -8), "checksum"),
    "wrong-length.nii.gz": Odd(flipped(ZIPPED, -1), "checksum"),
    "bit-flip.nii.gz": Odd(flipped(ZIPPED, HALF), "damaged"),
    "stored-bit-flip.nii.gz": Odd(flipped(gzip.compress(GOOD, 0, mtime=0), 600), "checksum"),
    "text.nii": Odd(b"no image\n" * 99, "not a NIfTI"),
    "text.nii.gz": Odd(b"no image\n" * 99, "not a NIfTI"),
    "zipped-text.nii.gz": Odd(gzip.compress(b"no image\n" * 99), "not a NIfTI"),
    "picture.nii": Odd(b"\x89PNG\r\n\x1a\n" + bytes(999), "not a NIfTI"),
    "zeros.nii": Odd(bytes(2000), "not a NIfTI"),
    # --- the header
    "magic.nii": Odd(nifti(magic=b"xyz\0"), "not a NIfTI"),
    "no-magic.nii": Odd(nifti(magic=b"\0\0\0\0"), "not a NIfTI"),
    "sizeof.nii": Odd(nifti(size=1234), "not a NIfTI"),
    **{
        f"dim-{'_'.join(map(str, dim))}.nii": Odd(nifti(dim=dim), words)
        for dim, words in {
            (0, 5, 6, 7): "damaged",
            (8, 5, 6, 7): "damaged",
            (-1, 5, 6, 7): "damaged",
            (3, 5, 0, 7): "damaged",
            (3, 5, -6, 7): "damaged",
            (3, 0, 0, 0): "damaged",
            (1, 210): "single line",
            (7, 5, 6, 7, 2, 2, 2, 2): "7 dimensions",
            (6, 5, 6, 7, 1, 1, 2): "6 dimensions",
        }.items()
    },
    **{
        f"type-{code}.nii": Odd(nifti(code=code, bits=bits), words)
        for code, bits, words in [
            (0, 16, "type 0"),
            (1, 1, "type 1"),
            (9999, 16, "9999"),
            (-4, 16, "-4"),
            (2048, 256, "complex256"),
        ]
    },
    "offset-far.nii": Odd(nifti(vox_offset=1e6), "cut off"),
    "offset-nan.nii": Odd(nifti(vox_offset=NAN), "damaged"),
    "offset-inf.nii": Odd(nifti(vox_offset=INF), "damaged"),
    "offset-negative.nii": Odd(nifti(vox_offset=-352), "damaged"),
    "offset-in-header.nii": Odd(nifti(vox_offset=100), "damaged"),
    # --- sizes that no file has
    "terabytes.nii": Odd(nifti(dim=(3, 32767, 32767, 1024)), "claims"),
    "terabytes.nii.gz": Odd(gzip.compress(nifti(dim=(3, 32767, 32767, 1024))), "cannot fit"),
    "overflow.nii": Odd(nifti(dim=(5, *[32767] * 5)), "claims"),
    "exabytes.nii": Odd(nifti2((3, 1 << 31, 1 << 31, 1)) + bytes(999), "claims"),
    "exabytes.nii.gz": Odd(gzip.compress(nifti2((3, 1 << 62, 1 << 62, 1 << 62))), "cannot fit"),
    "bomb.nii.gz": Odd(
        gzip.compress(header(dim=(3, 2048, 1024, 1024), code=2, bits=8) + bytes(4))
        + many_zeros(2048),
        "unpack",
    ),
    # --- where it lies, and its other half
    "singular.nii": Odd(nifti(sform=AFFINE * [1, 1, 0, 1]), "singular"),
    "lonely.hdr": Odd(header(magic=b"ni1\0", vox_offset=0), "other half"),
    "lonely.img": Odd(VOXELS, "other half"),
    "cut-pair.hdr": Odd(
        header(magic=b"ni1\0", vox_offset=0), "cut off", beside={"cut-pair.img": VOXELS[:-1]}
    ),
    "empty-pair.hdr": Odd(
        header(magic=b"ni1\0", vox_offset=0), "empty", beside={"empty-pair.img": b""}
    ),
    "single-as-pair.hdr": Odd(header(), "single file", beside={"single-as-pair.img": VOXELS}),
}

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
