from __future__ import annotations

from dataclasses import fields

import pytest

from tunecnn.workflows.options import RunOptions

VALUES = {
    "local": True, "address": "head:6379", "cpus_per_trial": 0.5, "gpus_per_trial": 0.25,
    "checkpoint_seconds": 7.5, "max_failures": 1, "trial_timeout": 1e6,
    "max_trials_at_once": 12, "wait_for_workers": 9.0, "min_free_gb": 2.0,
    "track": ("tensorboard", "mlflow"), "followed_by": ("--confirm", "3x5", "--splits", "2"),
}  # fmt: skip
KEPT_BY_THE_RUN = {"data_dir", "runs_dir", "name", "resume_or_start", "keep_weights"}
OF_ONE_SESSION = {"take_over", "allow_changes", "inside"}
PRIVATE = {"on_end"}


@pytest.mark.parametrize("option", VALUES)
def test_an_option_that_a_run_does_not_keep_is_repeated(option):
    words = RunOptions(**{option: VALUES[option]}).repeated()
    if option == "followed_by":
        assert words == VALUES[option]
    else:
        assert words[0] == f"--{option.replace('_', '-')}"


def test_the_options_of_a_later_session_are_words_of_a_command_line():
    assert RunOptions().repeated() == ()
    options = RunOptions(gpus_per_trial=0.25, trial_timeout=1_234_567.5, track=("mlflow", "wandb"))
    words = "--gpus-per-trial 0.25 --trial-timeout 1234567.5 --track mlflow --track wandb"
    assert options.repeated() == tuple(words.split())


def test_each_option_is_repeated_or_need_not_be():
    names = {one.name for one in fields(RunOptions)}
    assert names == {*VALUES, *KEPT_BY_THE_RUN, *OF_ONE_SESSION, *PRIVATE}
