"""The Optuna study of a run. Only this folder imports optuna."""
