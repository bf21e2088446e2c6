"""The models there are, as rows of data; nothing here imports a network."""

from __future__ import annotations

from dataclasses import dataclass, field

from napari_sam3d.volume import Shape3


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Where the weights of a model are."""

    file: str
    """File name: in the package's `engine/models` when `shipped`, else in the user's folder."""
    sha256: str | None = None
    """Of the file as it is shipped or offered by the authors."""
    url: str | None = None
    """Public address; None for what is shipped, or has to be added from a file of the user's."""
    size: int | None = None
    """Bytes to download."""
    licence: str = "BSD-3-Clause"
    page: str = ""
    """Where the authors offer the file, for those without a public address."""
    base: str | None = None
    """Model of the catalog on which these weights are only adapters."""

    @property
    def shipped(self) -> bool:
        """Whether the package contains them."""
        return self.url is None and not self.page


@dataclass(frozen=True, kw_only=True)
class Intensity:
    """The intensities a network was trained on."""

    kind: str
    """percentiles: clipped there, mean 0 and deviation 1; window: clipped to low and high, then
    shifted by mean and divided by std; positive: mean and deviation of what is above zero;
    quantile: from the least to the 99 % quantile, 0 to 1."""
    low: float = 0.0
    high: float = 0.0
    mean: float = 0.0
    std: float = 1.0


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """One row of the catalog."""

    name: str
    title: str
    """One line for menus."""
    family: str
    """Which network, as `engine.checkpoints.recognise` names released files."""
    way: str
    """How a volume is looked at: following (patches that fit the object), fixed (patches of one
    voxel size), slices (one by one) or classes (the whole volume, all classes)."""
    prompts: frozenset[str]
    """What it takes, out of foreground, background, mask, box; automatic when it needs none."""
    weights: Weights
    patch_shape: Shape3 = (0, 0, 0)
    """Voxels of the patch the network sees, (z, y, x); none when it sees slices."""
    spacing_mm: float | None = None
    """Edge of its voxels; None when the patch follows the object, or is a slice."""
    partial_voxels: bool = False
    """Whether voxels count that the image covers only in part, at its far borders."""
    axes: str = "IPL"
    """Where the axes of its input point; a letter each of I/S, P/A, L/R."""
    intensity: Intensity = field(default_factory=lambda: Intensity(kind="percentiles"))
    mask_shape: Shape3 | None = None
    """Voxels of the logits it gives and takes, in its own axes; None for those of the patch."""
    object_mm: tuple[float, float] | None = None
    """Longest edges of the smallest and the largest object, where it was tuned on such; patches
    that follow the object begin at these sizes. None for objects of any size."""
    classes: tuple[str, ...] = ()
    """Names of what it finds without prompts, from label 1 on."""
    citation: str = ""


_SAM_MED3D = "Wang et al., SAM-Med3D, arXiv:2310.15161"
_ADAPTER = "Gong et al., 3DSAM-adapter, Medical Image Analysis 98 (2024) 103324"
_MA_SAM = "Chen et al., MA-SAM, Medical Image Analysis 98 (2024) 103310"
_SAM = "Kirillov et al., Segment Anything, arXiv:2304.02643"
_SAM_URL = "https://dl.fbaipublicfiles.com/segment_anything/"
_MED3D_URL = "https://huggingface.co/blueyo0/SAM-Med3D/resolve/"
_POINTS = frozenset({"foreground", "background"})
# of the released 3DSAM-adapter: clip in Hounsfield units, mean, deviation, axes of the training
# images (KiTS is stored from head to foot, the Decathlon and LiTS toward right, front and head)
_TASKS = {
    "kits": ("kidney", -54, 247, 59.53867, 55.457336, "IPL"),
    "lits": ("liver", -48, 163, 60.057533, 40.198017, "SAR"),
    "pancreas": ("pancreas", -39, 204, 68.45214, 63.422806, "SAR"),
    "colon": ("colon", -57, 175, 65.175035, 32.651197, "SAR"),
}
_ORGANS = (
    *("spleen", "right kidney", "left kidney", "gallbladder", "esophagus", "liver", "stomach"),
    *("aorta", "inferior vena cava", "portal and splenic veins", "pancreas", "adrenal glands"),
)


def _compact() -> ModelSpec:
    return ModelSpec(
        name="compact",
        title="compact: small all-purpose 3D model, works offline",
        family="compact",
        way="following",
        patch_shape=(64, 64, 64),
        prompts=_POINTS | {"mask", "box"},
        weights=Weights(
            file="compact.safetensors",
            sha256="934a2615638fe18dc896994713b6de346d8058fd4c110aa07c0cd8a55893f757",
        ),
        citation="napari-sam3d contributors; see recipes/compact/MODEL_CARD.md",
    )


def _sam_med3d(name: str, title: str, boxes: bool, weights: Weights) -> ModelSpec:
    return ModelSpec(
        name=name,
        title=title,
        family="sam_med3d",
        way="fixed",
        patch_shape=(128, 128, 128),
        spacing_mm=1.5,
        partial_voxels=True,
        axes="RAS",
        intensity=Intensity(kind="positive"),
        mask_shape=(32, 32, 32),
        prompts=_POINTS | {"mask"} | ({"box"} if boxes else set()),
        weights=weights,
        citation=_SAM_MED3D,
    )


def _sam3d_adapter(task: str, automatic: bool) -> ModelSpec:
    organ, low, high, mean, std, axes = _TASKS[task]
    auto = "_auto" * automatic
    edge = 256 if automatic else 128
    return ModelSpec(
        name=f"sam3d_adapter{auto}_{task}",
        title=f"3DSAM-adapter: tumours of the {organ} in CT{', without clicks' * automatic}",
        family=f"sam3d_adapter{auto}",
        way="classes" if automatic else "fixed",
        patch_shape=(edge, edge, edge),
        spacing_mm=1.0,
        axes=axes,
        intensity=Intensity(kind="window", low=low, high=high, mean=mean, std=std),
        prompts=frozenset({"automatic"} if automatic else {"foreground"}),
        classes=(f"{organ} tumour",) if automatic else (),
        weights=Weights(
            file=f"sam3d_adapter{auto}_{task}.safetensors",
            licence="none stated",
            page="https://github.com/med-air/3DSAM-adapter",
        ),
        citation=_ADAPTER,
    )


def _ma_sam(task: str, what: str, intensity: Intensity, classes: tuple[str, ...]) -> ModelSpec:
    return ModelSpec(
        name=f"ma_sam_{task}",
        title=f"MA-SAM: {what}, without clicks",
        family="ma_sam",
        way="classes",
        axes="SPL",
        intensity=intensity,
        prompts=frozenset({"automatic", "box"}),
        classes=classes,
        weights=Weights(
            file=f"ma_sam_{task}.safetensors",
            licence="none stated",
            page="https://github.com/cchen-cc/MA-SAM",
            base="sam_vit_h",
        ),
        citation=_MA_SAM,
    )


def _sam(size: str, file: str, sha256: str, nbytes: int) -> ModelSpec:
    return ModelSpec(
        name=f"sam_vit_{size}",
        title=f"Segment Anything (vit_{size}), slice by slice",
        family="sam",
        way="slices",
        prompts=_POINTS | {"box"},
        weights=Weights(
            file=file, sha256=sha256, url=_SAM_URL + file, size=nbytes, licence="Apache-2.0"
        ),
        citation=_SAM,
    )


def _medsam() -> ModelSpec:
    return ModelSpec(
        name="medsam",
        title="MedSAM, slice by slice, from a box",
        family="sam",
        way="slices",
        prompts=frozenset({"box"}),
        weights=Weights(
            file="medsam.safetensors",
            sha256="34b34b78c1d18cb8c6bf84cf9c00e135d6d6c965699f3c0e31ef1bc9dcb5be74",
            licence="Apache-2.0",
            page="https://github.com/bowang-lab/MedSAM",
        ),
        citation="Ma et al., Segment Anything in Medical Images, Nature Communications (2024)",
    )


MODELS: dict[str, ModelSpec] = {
    spec.name: spec
    for spec in (
        _compact(),
        _sam_med3d(
            "sam_med3d_turbo",
            "SAM-Med3D turbo: all-purpose, medical",
            False,
            Weights(
                file="sam_med3d_turbo.pth",
                sha256="899a46d04d3b70f723282ceb489149373558bf0aaba389a346f5ab57da5cdd3c",
                url=_MED3D_URL + "fc482a040ea69cdc9ae576a1d6bd9db02ab1994c/sam_med3d_turbo.pth",
                size=402_163_626,
                licence="Apache-2.0",
            ),
        ),
        _sam_med3d(
            "sam_med3d_cvpr",
            "SAM-Med3D of the CVPR 2025 challenge, takes boxes",
            True,
            Weights(
                file="sam_med3d_turbo_cvpr_coreset.pth",
                sha256="11520a8f5adf1ef331c5858400138cc7f6eed65584bdd44e0f325fda5d1e0640",
                url=_MED3D_URL + "main/sam_med3d_turbo_cvpr_coreset.pth",
                licence="Apache-2.0",
            ),
        ),
        *(_sam3d_adapter(task, automatic) for automatic in (False, True) for task in _TASKS),
        _ma_sam(
            "btcv",
            "12 abdominal organs in CT",
            Intensity(kind="window", low=-200, high=250),
            _ORGANS,
        ),
        _ma_sam("prostate", "the prostate in MR", Intensity(kind="quantile"), ("prostate",)),
        _sam(
            "b",
            "sam_vit_b_01ec64.pth",
            "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
            375_042_383,
        ),
        _sam(
            "l",
            "sam_vit_l_0b3195.pth",
            "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
            1_249_524_607,
        ),
        _sam(
            "h",
            "sam_vit_h_4b8939.pth",
            "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
            2_564_550_879,
        ),
        _medsam(),
    )
}
"""All models by their names."""


def model_spec(name: str) -> ModelSpec:
    """The row called `name`; ValueError with the known names when there is none."""
    try:
        return MODELS[name]
    except KeyError:
        known = ", ".join(sorted(MODELS))
        raise ValueError(f"There is no model called {name!r}; known models: {known}.") from None
