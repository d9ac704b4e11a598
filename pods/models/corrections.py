"""Why the booked cost of a pod became another one than what had been counted until then."""

from typing import ClassVar

from django.db import models

from pods.models.fields import usd_per_hour
from pods.models.pods import Pod


class Correction(models.Model):
    """One change of what was counted before. Rows are only inserted."""

    class Why(models.TextChoices):
        """Why, for code; the texts are for people."""

        ENDED_EARLIER = (
            "ended_earlier",
            "the vendor had accepted its end earlier than it was proved",
        )
        MISSING_EARLIER = "missing_earlier", "its machine was missing earlier than that was certain"
        NEVER_CREATED = "never_created", "the vendor proved that it never made a machine"
        STILL_THERE = "still_there", "its machine was seen again, and had billed all along"

    pod = models.ForeignKey(Pod, on_delete=models.CASCADE, related_name="corrections")
    fleet = models.ForeignKey("fleet.Fleet", on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField()  # when it was booked
    # The time that was counted and is not booked, or the other way round; its price; its cost.
    since = models.DateTimeField()
    until = models.DateTimeField()
    hourly_usd = usd_per_hour()
    micros = models.BigIntegerField()  # 1/1,000,000 USD; below 0: the sums fell
    why = models.CharField(max_length=20, choices=[(w.value, w.value) for w in Why])

    class Meta:
        """The index serves reads of some days."""

        indexes: ClassVar = [models.Index(fields=["until"], name="correction_until")]

    def __str__(self) -> str:
        return f"{self.pod}: {self.micros / 1_000_000:+f} USD, {self.because}"

    @property
    def because(self) -> str:
        """Why, for people."""
        return str(self.Why(self.why).label)
