"""Other tools' formats: pytest-benchmark's files both ways, Bencher, github-action-benchmark, CSV and Parquet.

What is foreign is shown and never gated: it carries no fingerprint of its host, no meters and no paired blocks.
"""
