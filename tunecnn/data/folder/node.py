"""A folder of a tree with the files and folders in it, and what its shape tells."""

from __future__ import annotations

import functools
import itertools
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from tunecnn.data.folder.table import is_table
from tunecnn.data.folder.tree import Listing, TreeFile, suffix_of
from tunecnn.data.parts import part_in, part_of
from tunecnn.errors import InputError
from tunecnn.words import shown

_NEVER_IMAGES = frozenset(
    {".txt", ".md", ".csv", ".json", ".yaml", ".yml", ".xml", ".html", ".pdf", ".zip", ".tar",
     ".jsonl", ".xlsx", ".xls", ".ods", ".gz", ".py", ".ipynb", ".log", ".rst", ".npy", ".npz",
     ".mat", ".parquet", ".arrow", ".tsv", ".tab", ".sh", ".tfrec", ".tfrecord", ".h5", ".hdf5",
     ".pkl", ".doc", ".docx", ".rtf", ".odt", ".ppt", ".pptx", ".pt", ".pth", ".onnx",
     ".safetensors", ".ckpt", ".7z", ".rar", ".bz2", ".xz", ".tgz", ".url", ".toml", ".ini",
     ".cfg", ".names", ".data", ".bib", ".tex", ".r", ".m", ".bat", ".js", ".css", ".htm",
     ".sqlite", ".db"}
)  # fmt: skip
_AS_PNG = "save each as PNG, or as TIFF of 16 bits with a scale"
_INSTEAD = {
    **dict.fromkeys((".dcm", ".dicom"), f"DICOM files (.dcm) are not read: {_AS_PNG}"),
    ".nii": f"NIfTI files (.nii) are not read: {_AS_PNG}",
    ".npy": "arrays in files of their own (.npy) are not read: write one .npz with train_images "
    "and train_labels",
    ".mat": "MATLAB's arrays (.mat) are not read: write one .npz with train_images and "
    "train_labels",
    **dict.fromkeys(
        (".mp4", ".avi", ".mov", ".mkv", ".webm"),
        "films are not read: save frames of them as images",
    ),
    **dict.fromkeys(
        (".zip", ".tar", ".tgz", ".7z", ".rar"),
        "archives inside a folder are not read: unpack them",
    ),
    ".pdf": "PDF files are not read: save their pages as images",
    **dict.fromkeys(
        (".czi", ".nd2", ".lif", ".svs", ".ndpi"), f"a microscope's files are not read: {_AS_PNG}"
    ),
}
"""What to do with files of formats that people have images in, by suffix."""
_NEVER_NAMES = frozenset(
    {"readme", "license", "licence", "copying", "notice", "authors", "changelog", "citation",
     "makefile", "dockerfile", "md5sums", "sha256sums"}
)  # fmt: skip

NO_CLASS = re.compile(
    r"(.*[^a-z])?(part|batch|fold|chunk|shard|images?|imgs?|photos?|dir)[^a-z]*", re.IGNORECASE
)
"""Names of folders that hold some of the images, such as `images_001`."""
MASKS = frozenset(
    {"mask", "masks", "annotation", "annotations", "segmentation", "segmentations", "ground_truth",
     "gt", "trimap", "trimaps"}
)  # fmt: skip
"""Names of folders with masks, where they stand beside one of images."""
MASK_OF = re.compile(
    r"(.+?)[ _-](mask|masks|segmentation|seg|gt|trimap)([ _-]?\d+)?", re.IGNORECASE
)
"""Names of masks beside their images, without suffixes."""


@dataclass
class Node:
    """A folder of a tree: its own files, and the folders in it."""

    name: str = ""
    files: list[TreeFile] = field(default_factory=list)
    folders: dict[str, Node] = field(default_factory=dict)

    @classmethod
    def of(cls, listing: Listing) -> Node:
        """Return the root of a tree."""
        root = cls()
        nodes = {"": root}

        def node_of(path: str) -> Node:
            if path not in nodes:
                above, _, last = path.rpartition("/")
                nodes[path] = node_of(above).folders.setdefault(last, cls(path))
            return nodes[path]

        for folder in sorted(listing.folders):
            node_of(folder)
        for file in listing.files:
            node_of(file.name.rpartition("/")[0]).files.append(file)
        return root

    def all_files(self) -> list[TreeFile]:
        """Return the files in this folder and all folders below, sorted by name."""
        return self._all_files

    @functools.cached_property
    def _all_files(self) -> list[TreeFile]:
        below = (inner.all_files() for inner in self.folders.values())
        return sorted([*self.files, *itertools.chain.from_iterable(below)])

    def is_for_something_else(self) -> bool:
        """Whether there are files in the folder, but none that may be an image."""
        return bool(self.all_files()) and not self.has_images()

    def mask_folders(self) -> list[Node]:
        """Return the folders of masks beside those of images.

        A class may be called `mask`, so all others are of images by their names, or the files of
        one are called as those here, which is how masks are found.
        """
        full = {name: inner for name, inner in self.folders.items() if inner.all_files()}
        masks = [
            inner
            for name, inner in full.items()
            if name.casefold() in MASKS and not inner.is_for_something_else()
        ]
        others = [
            name
            for name, inner in full.items()
            if name.casefold() not in MASKS and inner.has_images()
        ]
        of_images = [full[name] for name in others if NO_CLASS.fullmatch(name)]
        if len(of_images) == len(others):
            return masks if others else []
        names = set().union(*(inner.stems() for inner in of_images))
        return [inner for inner in masks if 2 * len(inner.stems() & names) > len(inner.stems())]

    def stems(self) -> set[str]:
        """The names of the files that may be images, without folder, suffix, and `_mask`."""
        lasts = (file.name.rpartition("/")[2] for file in self.all_files() if may_be_image(file))
        stems = {PurePosixPath(last).stem for last in lasts}
        return {match[1] if (match := MASK_OF.fullmatch(stem)) else stem for stem in stems}

    def wrappers(self, *, of_a_part: bool = False) -> list[tuple[str, Node]]:
        """Return the folders around everything else: each is the only one with files above it.

        A folder of a class is none: it has files of its own, or stands beside others.

        Args:
            of_a_part: whether this is the folder of a part, so that `train` in it is no part.
        """
        full = [
            name
            for name, inner in self.folders.items()
            if inner.all_files() and not inner.is_for_something_else()
        ]
        masks = [inner.name for inner in self.mask_folders()]
        full = [name for name in full if self.folders[name].name not in masks]
        if (
            len(full) != 1
            or (part_of(full[0]) and not of_a_part)
            or any(map(may_be_image, self.files))
        ):
            return []
        only = self.folders[full[0]]
        if any(map(may_be_image, only.files)):
            return [(only.name, only)] if only.has_labels() else []
        if not only.folders:
            return []
        return [(only.name, only), *only.wrappers(of_a_part=of_a_part)]

    def has_labels(self) -> bool:
        """Whether the images in the folder have their labels beside them, or in their names."""
        return any(is_table(file.name) for file in self.files) or bool(labels_in_names(self.files))

    def loose_files_above(self, name: str) -> int:
        """Return the number of files in this folder that are not in the named one."""
        return len(self.all_files()) - len(self.folders[name.rpartition("/")[2]].all_files())

    def inside_out(self) -> Node:
        """Turn `<class>/<part>` into `<part>/<class>`; other trees are returned unchanged.

        Raises:
            InputError: if some classes have folders of parts, and other images are in none.
        """
        full = [inner for inner in self.folders.values() if inner.has_images()]
        are_parts = all(inner.folders and all(map(part_of, inner.folders)) for inner in full)
        parts = [set(map(part_in, inner.folders)) - {None} for inner in full]
        has_parts = sum("train" in some and len(some) > 1 for some in parts) > 1
        is_outside = any(part_of(name) == "train" for name in self.folders)
        if len(full) < 2 or is_outside or not (are_parts or has_parts):
            return self
        others = {name: inner for name, inner in self.folders.items() if inner not in full}
        turned = Node(self.name, list(self.files), others)
        for inner in full:
            loose = [
                folder.name
                for name, folder in inner.folders.items()
                if part_in(name) is None and folder.has_images()
            ]
            if loose := [*loose, *(file.name for file in inner.files if may_be_image(file))]:
                raise InputError(
                    "imagefolder: there are folders of parts, such as train and test, in the "
                    f"classes, and {shown(loose[0])} is in none; move it into one, or away"
                )
            turned.files += inner.files
            last = inner.name.rpartition("/")[2]
            for part, folder in inner.folders.items():
                turned.folders.setdefault(part, Node(part)).folders[last] = folder
        return turned

    def has_images(self) -> bool:
        """Whether there are files in the folder or below that may be images, by their names."""
        return any(map(may_be_image, self.all_files()))


def may_be_image(file: TreeFile) -> bool:
    """Return whether a file may be an image, by its name."""
    last = file.name.rpartition("/")[2]
    return suffix_of(last) not in _NEVER_IMAGES and last.casefold() not in _NEVER_NAMES


def labels_in_names(images: Sequence[TreeFile]) -> dict[str, str]:
    """Return the labels in names such as `cat.0.jpg`; none unless all names have this form."""
    labels = {}
    for file in filter(may_be_image, images):
        match = re.fullmatch(r"([^.\d]+)\.\d+\.\w+", file.name.rpartition("/")[2])
        if match is None:
            return {}
        labels[file.name] = match[1]
    return labels


def classes_in_names(images: Sequence[TreeFile]) -> dict[str, str]:
    """Return the labels in names if they are of several classes, unlike `img.0.png`."""
    labels = labels_in_names(images)
    return labels if len(set(labels.values())) > 1 else {}


def instead_of(files: Iterable[TreeFile]) -> str:
    """Say what to do with the most frequent format of some files, if it is not read."""
    suffixes = Counter(suffix_of(file.name.lower().removesuffix(".gz")) for file in files)
    return next((_INSTEAD.get(suffix, "") for suffix, _ in suffixes.most_common(1)), "")
