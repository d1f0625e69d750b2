"""`python -m fasbench` is the `fasbench` command."""

from fasbench.cli import main

main()
