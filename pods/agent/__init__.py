"""The program that runs on a pod: it drains a backlog and reports its progress. It stands alone."""
