"""The Optuna study of a run. Only this folder imports optuna."""

import warnings

with warnings.catch_warnings():
    # Optuna shows no progress bar here, but in a notebook its import warns about a missing one.
    warnings.filterwarnings("ignore", message="IProgress not found")
    import optuna  # noqa: F401
