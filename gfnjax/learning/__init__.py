"""What one training step is made of: where it starts, what it sees, how parameters move."""
