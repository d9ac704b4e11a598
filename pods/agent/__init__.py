"""What runs on a pod: drains a backlog, and says how it goes. It stands alone."""
