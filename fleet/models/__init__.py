"""The rows of fleets: what operators want, what ticks decided, alerts and measurements."""

from fleet.models.alerts import Alert, AlertAnswer, Channel, Delivery
from fleet.models.balances import Balance, Sample
from fleet.models.batches import Batch, BatchFile, BatchPiece, BatchStatus
from fleet.models.choices import MODES, ON_STREAM, Backlog, IdleAction, RedisRoute
from fleet.models.code import Code
from fleet.models.datasets import Dataset, DatasetFile
from fleet.models.decisions import Lease, Tick
from fleet.models.fleets import Fleet
from fleet.models.forecasts import FleetForecast
from fleet.models.limits import Limits
from fleet.models.overrides import Override
from fleet.models.people import PersonEvent, RecoveryCode, SecondFactor
from fleet.models.sample_runs import SampleRun
from fleet.models.secrets import IssuedKeys, Secret
from fleet.models.shadows import Shadow, ShadowTick
from fleet.models.tokens import ApiToken, KeyedRequest, Scope

__all__ = [
    "MODES",
    "ON_STREAM",
    "Alert",
    "AlertAnswer",
    "ApiToken",
    "Backlog",
    "Balance",
    "Batch",
    "BatchFile",
    "BatchPiece",
    "BatchStatus",
    "Channel",
    "Code",
    "Dataset",
    "DatasetFile",
    "Delivery",
    "Fleet",
    "FleetForecast",
    "IdleAction",
    "IssuedKeys",
    "KeyedRequest",
    "Lease",
    "Limits",
    "Override",
    "PersonEvent",
    "RecoveryCode",
    "RedisRoute",
    "Sample",
    "SampleRun",
    "Scope",
    "SecondFactor",
    "Secret",
    "Shadow",
    "ShadowTick",
    "Tick",
]
