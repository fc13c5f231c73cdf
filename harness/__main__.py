"""`python -m harness` is `joulebench`."""

from harness.cli import main

main()
