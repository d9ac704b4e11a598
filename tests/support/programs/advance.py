"""Advances all batches again and again, as beat and a worker do, until it is killed."""

import time

from tests.support.programs import set_django_up

set_django_up()

from fleet.batches import advancing  # noqa: E402 - Django is set up before

while True:
    for batch_id in advancing.unfinished():
        advancing.advance(batch_id)
    time.sleep(0.05)
