"""Masks: pictures that say which pixels of an image show what; they are no images to classify."""

from __future__ import annotations

from tunecnn.data.folder.node import MASK_OF, MASKS, Node, may_be_image

MASK = "in a folder of masks"
MASK_FILE = "a mask beside its image"


def in_mask_folders(node: Node) -> set[str]:
    """Return the files in folders of masks: beside one of images, or in each class."""
    if beside := node.mask_folders():
        return {file.name for inner in beside for file in inner.all_files()}
    classes = [inner for inner in node.folders.values() if inner.all_files()]
    found = [{name for name in inner.folders if name.casefold() in MASKS} for inner in classes]
    if not classes or not all(
        masks and len(inner.folders) > len(masks) and not any(map(may_be_image, inner.files))
        for inner, masks in zip(classes, found, strict=True)
    ):
        return set()
    return {
        file.name
        for inner, masks in zip(classes, found, strict=True)
        for name in masks
        for file in inner.folders[name].all_files()
    }


def beside_images(node: Node) -> dict[str, str]:
    """Return the files such as `1_mask.png` beside `1.png`, each with the name of that.

    The name of the image is without its suffix.
    """
    files = node.all_files()
    images = {without_suffix(file.name) for file in files if may_be_image(file)}
    found = {}
    for file in files:
        folder, slash, last = without_suffix(file.name).rpartition("/")
        match = MASK_OF.fullmatch(last)
        if match is not None and (image := f"{folder}{slash}{match[1]}") in images:
            found[file.name] = image
    return found


def without_suffix(name: str) -> str:
    """Return the path of a file without its suffix."""
    stem, dot, suffix = name.rpartition(".")
    return stem if dot and "/" not in suffix else name
