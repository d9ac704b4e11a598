"""What GPUs and places are called: one catalogue for all vendors."""
