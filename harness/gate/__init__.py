"""The gate of a CI: expected failures, two runs compared, and what a code host is told about them.

`baseline` holds a run against a file of failures that are known; `compare` says what became better and worse between
two runs; `github` writes annotations and step summaries.
"""
