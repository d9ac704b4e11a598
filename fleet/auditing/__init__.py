"""The audit log: who changed what, and who signed in, from the rows that keep it."""
