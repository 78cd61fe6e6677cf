"""What tunecnn costs and saves, measured beside what people would use instead."""
