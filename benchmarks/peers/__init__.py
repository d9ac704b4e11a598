"""The programs that the agent is compared with: `fill COUNT` or `work`, on the server of REDIS_URL."""
