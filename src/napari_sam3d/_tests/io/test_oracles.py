"""Programs that share no code with ours agree where a label map lies and what it holds.

`NAPARI_SAM3D_ORACLES=all pytest -s test_oracles.py` asks every program about every file, those of
`../shared/data` included, and prints how many there were; without it a few are asked.
"""

from __future__ import annotations

import csv
import gzip
import os
import shutil
import subprocess
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

import napari_sam3d
from napari_sam3d._tests.nifti_files import (
    ORIENTATIONS,
    anatomy,
    forms,
    nifti,
    put,
    stored_as,
)
from napari_sam3d.io import open_nifti, write_image, write_labels

ALL = os.environ.get("NAPARI_SAM3D_ORACLES") == "all"
DATA = Path(napari_sam3d.__file__).parents[3] / "shared" / "data"
FORMS = ("qform", "sform", "both")
CLEANED = {
    *("data_type", "db_name", "cal_max", "cal_min", "glmax", "glmin", "aux_file"),
    *("intent_p1", "intent_p2", "intent_p3", "intent_name", "scl_slope", "scl_inter"),
    *("dim", "magic", "vox_offset"),
}
"""Header fields that a label map has of its own when they were not so already."""
CHANGED = {"intent_code", "datatype", "bitpix", "descrip"}
"""Header fields that differ between a plain image and its label map."""
OF_TYPE = {"nbyper", "swapsize"}
"""What nifti_tool derives from the type."""


def changed_fields(first, second):
    """Names of the header fields whose bytes differ between two files, gzipped or not."""
    raw = []
    for path in (first, second):
        opened = gzip.open if path.name.endswith(".gz") else open
        with opened(path, "rb") as file:
            raw.append(file.read(348))
    fields = nib.Nifti1Header.template_dtype.fields
    return {
        name
        for name, (dtype, at, *_) in fields.items()
        if raw[0][at : at + dtype.itemsize] != raw[1][at : at + dtype.itemsize]
    }


def plain(content):
    """Without the text and the display range that a label map drops."""
    fields = np.frombuffer(content[:348], nib.Nifti1Header.template_dtype).copy()
    for name in ("data_type", "db_name", "cal_max", "cal_min", "aux_file", "intent_name"):
        fields[name] = np.zeros_like(fields[name])
    return fields.tobytes() + content[348:]


def saved(folder, content, name="image.nii"):
    """An image, and the label map of the same values written on its voxels."""
    path = put(folder / name, content)
    image = open_nifti(path)
    labels = write_labels(
        folder / "labels.nii.gz", image.data, image.source.grid, image.source, overwrite=True
    )
    return path, labels, image


# --- SimpleITK ------------------------------------------------------------------------------


def itk_agrees(path, labels, source):
    """Same grid and values in ITK, and its points are ours; all are compared exactly but those."""
    image, mask = sitk.ReadImage(str(path)), sitk.ReadImage(str(labels))
    for get in ("GetSize", "GetOrigin", "GetSpacing", "GetDirection"):
        assert getattr(image, get)() == getattr(mask, get)(), get
    np.testing.assert_array_equal(
        sitk.GetArrayViewFromImage(image), sitk.GetArrayViewFromImage(mask)
    )
    itk_points(mask, source)


def itk_points(mask, source):
    rng = np.random.default_rng(0)
    reach = max(1.0, np.abs(source.affine).max())
    for ijk in (rng.random((5, 3)) * source.stored_shape).tolist():
        lps = mask.TransformContinuousIndexToPhysicalPoint(ijk)
        ours = source.to_ras(source.to_display(np.array(ijk)))
        np.testing.assert_allclose(ours, np.array(lps) * (-1, -1, 1), atol=2e-6 * reach)


@pytest.mark.parametrize("which", FORMS)
@pytest.mark.parametrize("oblique", [False, True], ids=["aligned", "oblique"])
def test_labels_of_48_storages_keep_the_header_and_itk_agrees(tmp_path, oblique, which):
    reference, _ = anatomy(oblique)
    for orientation in ORIENTATIONS:
        stored, affine = stored_as(*anatomy(oblique), *orientation)
        content = nifti(stored, **forms(affine, which))
        path, labels, image = saved(tmp_path, content)
        assert changed_fields(path, labels) <= CHANGED | CLEANED, orientation
        path, labels, image = saved(tmp_path, plain(content))
        assert changed_fields(path, labels) == CHANGED, orientation
        np.testing.assert_array_equal(
            image.data, reference[::-1, ::-1, ::-1].transpose(2, 1, 0), str(orientation)
        )
        assert image.source.affine_source == ("qform" if which == "qform" else "sform")
        itk_agrees(path, labels, image.source)


# --- nifti_tool and MRtrix ------------------------------------------------------------------


def said(*command):
    """What a program prints; an AssertionError when it fails or complains."""
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def nifti_tool_agrees(path, labels, image):
    for file in (path, labels):
        assert "IS GOOD" in said("nifti_tool", "-check_hdr", "-infiles", file)
    places = "nifti_tool -quiet -disp_nim -field sto_xyz -field qto_xyz -infiles".split()
    assert said(*places, path) == said(*places, labels)
    both = subprocess.run(
        ["nifti_tool", "-diff_nim", "-infiles", path, labels], capture_output=True, text=True
    )
    different = {line.split()[0] for line in both.stdout.splitlines()[2:]}
    assert both.returncode == bool(different)  # 1 says that there is a difference
    assert different <= CHANGED | CLEANED | OF_TYPE
    rng = np.random.default_rng(0)
    for ijk in rng.integers(0, image.source.stored_shape, (3, 3)).tolist():
        z, y, x = image.source.to_display(np.array(ijk))
        value = said("nifti_tool", "-quiet", "-disp_ci", *ijk, 0, 0, 0, 0, "-infiles", labels)
        assert float(value.split()[-1]) == pytest.approx(
            image.data[int(z), int(y), int(x)], rel=1e-5, abs=1e-6
        )


def mrtrix_agrees(path, labels, image):
    grids = [said("mrinfo", "-quiet", "-transform", "-spacing", "-size", p) for p in (path, labels)]
    assert grids[0] == grids[1]
    size, spacing, *rows = grids[0].strip().splitlines()
    grid = image.source.grid
    # its axes lead toward right, anterior and superior: ours, from the last voxel backwards
    far = image.source.to_ras(np.array(grid.shape) - 1)
    transform = np.array([row.split() for row in rows], float)
    numbers = [np.array(line.split(), float) for line in (size, spacing)]
    for found, wanted in zip(numbers, (grid.shape[::-1], grid.spacing[::-1]), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4)
    np.testing.assert_allclose(transform[:3, 3], far, atol=1e-4 * max(1, np.abs(far).max()))
    apart = labels.with_name("apart.mif")
    said("mrcalc", "-quiet", "-force", path, labels, "-subtract", "-abs", apart)
    assert float(said("mrstats", "-quiet", apart, "-output", "max")) == 0


PROGRAMS = {"nifti_tool": nifti_tool_agrees, "mrinfo": mrtrix_agrees}


@pytest.mark.parametrize("program", PROGRAMS)
def test_other_programs_agree_on_storages(tmp_path, program):
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    storages = [(o, tilt, which) for o in ORIENTATIONS for tilt in (0, 1) for which in FORMS]
    asked = storages if ALL else storages[:: len(storages) // 11]
    for orientation, oblique, which in asked:
        stored, affine = stored_as(*anatomy(oblique), *orientation)
        path, labels, image = saved(tmp_path, nifti(stored, **forms(affine, which)))
        PROGRAMS[program](path, labels, image)
    print(f"{program} agrees on {len(asked)} of {len(storages)} storages")


# --- real files -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def volumes():
    """Images and label maps of patients, and of other things that were looked into."""
    if not (DATA / "index.csv").is_file():
        pytest.skip("../shared/data is not there")
    with (DATA / "index.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = sorted({r[key] for r in rows for key in ("image_file", "label_file") if r[key]})
    files = [DATA / name for name in names if (DATA / name).is_file()]
    assert files
    return files if ALL else sorted(files, key=lambda p: p.stat().st_size)[:: len(files) // 6]


def test_all_programs_agree_on_real_files(tmp_path, volumes):
    programs = {name: agrees for name, agrees in PROGRAMS.items() if shutil.which(name)}
    tilted = 0
    for path in volumes:
        image = open_nifti(path)
        source, grid = image.source, image.source.grid
        tilted += grid.tilt_deg > 0.5
        if "label" in path.name:
            values = np.asarray(image.data).astype(np.int64)
            copy = write_labels(tmp_path / "copy.nii.gz", values, grid, source, overwrite=True)
        else:
            copy = write_image(tmp_path / "copy.nii.gz", image.data, grid, source, overwrite=True)
            mask = write_labels(
                tmp_path / "mask.nii.gz", image.data > 0, grid, source, overwrite=True
            )
            assert changed_fields(path, mask) <= CHANGED | CLEANED, path.name
        assert changed_fields(path, copy) <= CHANGED | CLEANED, path.name
        itk_agrees(path, copy, source)
        for agrees in programs.values():
            agrees(path, copy, image)
    print(f"{len(volumes)} files, {tilted} tilted: the same in SimpleITK, {', '.join(programs)}")
