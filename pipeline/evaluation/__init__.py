"""What a trained network reaches: losses, accuracy, latency, and runs evaluated again."""
