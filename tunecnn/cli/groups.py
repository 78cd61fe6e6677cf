"""The help of the commands: groups of options, and an example of each command."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_GROUPS: Mapping[str, str] = {
    "Images": "dataset data_dir size fit skip_bad",
    "How long": "trials epochs hours device_hours until seeds splits",
    "Where trials run": "local address cpus_per_trial gpus_per_trial max_trials_at_once "
    "wait_for_workers threads device",
    "The run's folder": "runs_dir name resume resume_or_start take_over allow_changes",
    "Safety": "checkpoint_seconds max_failures trial_timeout min_free_gb",
    "What is said, and to whom": "quiet json_lines track on_end",
}
_EXAMPLES: Mapping[str, str] = {
    "plan": "tunecnn plan --space proposed.yaml --measure",
    "search": "tunecnn search --space proposed.yaml --trials 64 --confirm 3x5",
    "confirm": "tunecnn confirm runs/digits-20261127-101500 --top 3 --seeds 5",
    "reproduce": "tunecnn reproduce --dataset mnist --seeds 5",
    "watch": "tunecnn watch runs/digits-20261127-101500",
    "dashboard": "tunecnn dashboard runs/digits-20261127-101500 --port 8080",
    "summarize": "tunecnn summarize runs/digits-20261127-101500 --figures pdf",
    "repair": "tunecnn repair runs/digits-20261127-101500",
    "train": "tunecnn train --config runs/digits-20261127-101500/configs/trial-00012.yaml",
    "predict": "tunecnn predict runs/digits-20261127-101500 photo.png",
    "evaluate": "tunecnn evaluate model.safetensors --dataset imagefolder:photos",
    "export": "tunecnn export runs/digits-20261127-101500 --format onnx",
    "runs": "tunecnn runs --runs-dir runs",
    "compare": "tunecnn compare runs/digits-a runs/digits-b --figure both.svg",
    "doctor": "tunecnn doctor",
    "notebooks": "tunecnn notebooks my-notebooks",
}


def arrange(command: Any) -> None:
    """Put the options of a command into groups, and an example below its help."""
    group_of = {name: group for group, names in _GROUPS.items() for name in names.split()}
    for parameter in command.params:
        if parameter.param_type_name == "option" and parameter.name in group_of:
            parameter.rich_help_panel = group_of[parameter.name]
    if example := _EXAMPLES.get(command.name):
        command.epilog = f"Example: {example}"
