"""NIfTI files for tests, packed by hand so that no library repairs them."""

import gzip
import itertools
import struct

import numpy as np
from nibabel.quaternions import mat2quat

SHAPE = (5, 6, 7)
AFFINE = np.array([[2, 0, 0, -20], [0, 1.5, 0, 30], [0, 0, 3, -40], [0, 0, 0, 1.0]])
CODES = {"u1": 2, "i2": 4, "i4": 8, "f4": 16, "f8": 64, "i1": 256, "u2": 512, "i8": 1024}

ORIENTATIONS = [
    (order, signs)
    for order in itertools.permutations(range(3))
    for signs in itertools.product((1, -1), repeat=3)
]
TILT = (20.0, -15.0, 10.0)


def numbers(shape=SHAPE, dtype="i2"):
    """Stored array whose values name their own place."""
    return np.arange(np.prod(shape), dtype=dtype).reshape(shape, order="F")


def header(
    *,
    dim=(3, *SHAPE),
    code=4,
    bits=16,
    pixdim=(1, 2, 1.5, 3),
    sform=AFFINE,
    codes=(0, 1),
    quaternion=(0, 0, 0),
    offset_mm=(-20, 30, -40),
    scaling=(1.0, 0.0),
    units=10,
    intent=0,
    magic=b"n+1\0",
    vox_offset=352.0,
    size=348,
    endian="<",
):
    """348 bytes; `codes` are those of the qform and the sform."""
    dim, pixdim = (*dim, *[1] * (8 - len(dim))), (*pixdim, *[1] * (8 - len(pixdim)))
    first = struct.pack(
        endian + "i10s18sihcb8h3f4h8f3fhbb4f2i",
        *(size, b"patient", b"db", 0, 0, b"r", 0, *dim, 0, 0, 0, intent, code, bits, 0),
        *(*pixdim, vox_offset, *scaling, 0, 0, units, 9.0, 1.0, 0, 0, 0, 0),
    )
    rows = np.asarray(sform, float)[:3].ravel()
    second = struct.pack(
        endian + "80s24s2h6f12f16s4s",
        *(b"a description", b"aux", *codes, *quaternion, *offset_mm, *rows, b"name", magic),
    )
    return first + second


def nifti(data=None, dtype="i2", endian="<", **fields):
    """The bytes of a file."""
    data = numbers(dtype=dtype) if data is None else data
    dtype = np.dtype(data.dtype)
    fields.setdefault("code", CODES.get(dtype.str[1:], 4))
    fields.setdefault("bits", dtype.itemsize * 8)
    fields.setdefault("dim", (data.ndim, *data.shape))
    voxels = data.astype(dtype.newbyteorder(endian)).tobytes(order="F")
    return header(endian=endian, **fields) + bytes(4) + voxels


def put(path, content):
    """Write bytes, gzipped when the name says so."""
    path.write_bytes(gzip.compress(content, 6, mtime=0) if path.name.endswith(".gz") else content)
    return path


def turn(degrees):
    """Rotation about x, then y, then z."""
    out = np.eye(4)
    for axis, angle in enumerate(np.radians(degrees)):
        i, j = [a for a in range(3) if a != axis]
        step = np.eye(4)
        step[i, i] = step[j, j] = np.cos(angle)
        step[i, j], step[j, i] = -np.sin(angle), np.sin(angle)
        out = step @ out
    return out


def anatomy(oblique):
    """Stored array and affine of one patient, as RAS."""
    return numbers(), (turn(TILT) if oblique else np.eye(4)) @ AFFINE


def stored_as(data, affine, order, signs):
    """The same patient in another storage order."""
    data = data.transpose(order)
    move = np.zeros((4, 4))
    move[3, 3] = 1
    for new, (old, sign) in enumerate(zip(order, signs, strict=True)):
        move[old, new] = sign
        move[old, 3] = 0 if sign > 0 else data.shape[new] - 1
    return np.flip(data, [a for a in range(3) if signs[a] < 0]), affine @ move


def forms(affine, which):
    """Header fields that say an affine by qform, sform or both."""
    size = np.linalg.norm(affine[:3, :3], axis=0)
    axes = affine[:3, :3] / size
    qfac = np.sign(np.linalg.det(axes))
    return {
        "pixdim": (qfac, *size),
        "quaternion": mat2quat(axes * [1, 1, qfac])[1:],
        "offset_mm": affine[:3, 3],
        "codes": (int(which != "sform"), int(which != "qform")),
        "sform": affine if which != "qform" else affine * 0,
    }
