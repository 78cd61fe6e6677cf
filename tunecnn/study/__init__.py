"""Optuna's record of a run. Only this folder imports optuna."""
