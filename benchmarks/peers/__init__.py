"""What the agent is measured against: each a program `fill COUNT` or `work`, told where by REDIS_URL."""
