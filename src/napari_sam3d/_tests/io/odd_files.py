"""Damaged files, packed by hand, and the words that refuse them.

The stored numbers name their own place: i + 5 j + 30 k of 5 x 6 x 7 voxels, unless said otherwise.
"""

from __future__ import annotations

import gzip
import struct
from dataclasses import dataclass, field

import numpy as np

from napari_sam3d._tests.nifti_files import AFFINE, header, nifti, numbers

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
        "would fill",
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
