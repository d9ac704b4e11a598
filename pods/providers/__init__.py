"""Adapters to the vendors and the hosts from which machines are rented."""
