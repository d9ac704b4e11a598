"""How pages write moments and numbers."""
