"""Adds the ranges that are not on the stream, in small steps, and prints how many are there."""

import os
import sys

from fleet.datasets import standing
from pods.base.redis import redis_client
from tests.support.datasets import a_source, ranges_of, the_stream

setattr(standing, "AT_ONCE", 7)  # noqa: B010 - small steps
stream = the_stream(redis_client(os.environ["REDIS_URL"]))
seen = stream.take_over()
there = {*seen.waiting, *seen.pending}
left = [one for one in ranges_of(a_source(), count=int(sys.argv[1])) if one.id not in there]
for count in stream.add(left):
    print(count, flush=True)
