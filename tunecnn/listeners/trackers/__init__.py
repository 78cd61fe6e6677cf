"""Trackers: TensorBoard, MLflow and Weights & Biases get what a run records."""
