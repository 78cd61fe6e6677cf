"""Images that are not files of one image each: arrays, tables, and the sets of torchvision."""
