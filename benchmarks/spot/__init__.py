"""A spot market as it was recorded, and fleets that rent pods on it."""
