"""Datasets: ranges of files in an object store or a folder, instead of items of a stream.

This package needs pyarrow and obstore (`podfleet-agent[datasets]`). The rest of the agent does not.
"""
