"""What a run says, as plain values."""
