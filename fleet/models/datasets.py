"""The rows of datasets: where a fleet's parts go, and which input files were planned."""

from typing import ClassVar

from django.db import models

from pods.agent.ranges import Compression, Source

COMPRESSIONS = [(c.value, c.value or "none") for c in Compression]
# The names of formats are those of `pods.agent.dataset.formats`: ours, and of third parties.
LONGEST_FORMAT = 40


class Dataset(models.Model):
    """The sink of a fleet, and how far it is. `fleet feed` makes the row."""

    fleet = models.OneToOneField("fleet.Fleet", on_delete=models.CASCADE, related_name="dataset")
    sink = models.CharField(max_length=500, unique=True)
    part_format = models.CharField(max_length=LONGEST_FORMAT)
    # Raised before ranges are added: a finish that began before does not count.
    version = models.PositiveIntegerField(default=0)
    fed_at = models.DateTimeField()
    # The version at which a finish last began to say in the sink that it is complete.
    finishing = models.PositiveIntegerField(null=True)
    finished_at = models.DateTimeField(null=True)
    # What the last tick that could count saw; after the finish, what the manifest says.
    rows_planned = models.PositiveBigIntegerField(default=0)
    rows_done = models.PositiveBigIntegerField(default=0)
    rows_failed = models.PositiveBigIntegerField(default=0)
    rows_dead = models.PositiveBigIntegerField(default=0)  # in ranges that are dead letters
    ranges_left = models.PositiveIntegerField(default=0)
    rows_fail = models.CharField(max_length=600, blank=True, default="")  # more than tolerated
    # Failed rows count from here, since an operator last asked to try again.
    counted_from = models.DateTimeField(null=True)
    counted_from_rows = models.PositiveBigIntegerField(default=0)
    counted_from_failed = models.PositiveBigIntegerField(default=0)
    note = models.CharField(max_length=500, blank=True, default="")  # why it is not finished

    def __str__(self) -> str:
        return f"{self.fleet} into {self.sink}"


class DatasetFile(models.Model):
    """One version of an input file, as it was planned. `fleet forget` deletes its row."""

    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="files")
    key = models.CharField(max_length=16)  # `Source.key`: the names of its parts contain it
    url = models.TextField()
    etag = models.TextField(blank=True)
    size = models.PositiveBigIntegerField()  # bytes
    format = models.CharField(max_length=LONGEST_FORMAT)
    compression = models.CharField(max_length=10, choices=COMPRESSIONS, blank=True)
    rows = models.PositiveBigIntegerField()  # exact where bounds are rows, and of lists of objects
    id_column = models.CharField(max_length=200, blank=True)
    planned_at = models.DateTimeField()

    class Meta:
        """A version of a file is planned once for each dataset."""

        constraints: ClassVar = [
            models.UniqueConstraint(fields=["dataset", "key"], name="dataset_file_key")
        ]

    def __str__(self) -> str:
        return self.url

    @property
    def source(self) -> Source:
        """The file as ranges name it."""
        compression = Compression(self.compression)
        return Source(self.url, self.etag, self.size, self.format, compression)
