"""What a running agent tells of itself."""
