"""Adapters to the vendors and hosts that machines are rented from."""
