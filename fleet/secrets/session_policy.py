"""What short-lived keys may do at most: read a dataset's input, and read and write its sink."""

import json
import posixpath
from collections.abc import Iterable, Sequence
from typing import Any, Final

# STS takes at most 2,048 characters (docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html,
# 2026-12-01).
LONGEST: Final = 2048
S3: Final = "s3://"
WRITES: Final = ("s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload")


def policy_of(sink: str, sources: Iterable[str], *, all_reads: bool, partition: str) -> str:
    """The policy as JSON. `all_reads`: the input names other objects, so every read is allowed.

    `sources` are the URLs of the input files. Their folders are named; where these are too many, the
    folder that has them all.
    """
    folders = sorted({url.rpartition("/")[0] + "/" for url in sources if url.startswith(S3)})
    for read in (folders, _common(folders), [f"{S3}{bucket}/" for bucket in _buckets(folders)]):
        found = _written(sink, [S3] if all_reads else read, partition)
        if len(found) <= LONGEST:
            return found
    return _written(sink, [S3], partition)


def _written(sink: str, reads: Sequence[str], partition: str) -> str:
    def arns(urls: Iterable[str]) -> list[str]:
        return [f"arn:{partition}:s3:::{url.removeprefix(S3)}*" for url in urls]

    sinks = [sink] if sink.startswith(S3) else []
    rules: list[dict[str, Any]] = []
    if reads:
        rules.append({"Effect": "Allow", "Action": "s3:GetObject", "Resource": arns(reads)})
    if sinks:
        rules.append({"Effect": "Allow", "Action": list(WRITES), "Resource": arns(sinks)})
    # without it a store says of a missing object that it is refused
    buckets = sorted({f"{S3}{bucket}" for bucket in _buckets([*reads, *sinks])})
    listed = [arn.removesuffix("*") or "*" for arn in arns(buckets) if arn]
    if listed:
        rules.append({"Effect": "Allow", "Action": "s3:ListBucket", "Resource": listed})
    return json.dumps({"Version": "2012-10-17", "Statement": rules}, separators=(",", ":"))


def _common(folders: Sequence[str]) -> list[str]:
    """For each bucket the folder that has all its folders."""
    keys = [folder.removeprefix(S3) for folder in folders]
    return [
        f"{S3}{posixpath.commonpath([key for key in keys if key.startswith(f'{bucket}/')])}/"
        for bucket in _buckets(folders)
    ]


def _buckets(urls: Iterable[str]) -> list[str]:
    return sorted({url.removeprefix(S3).partition("/")[0] for url in urls} - {""})
