"""The report of a run as one self-contained HTML file: tables and figures from its results and score files."""

from fasbench.report.build import Evaluated, read_run, render, write_report

__all__ = ["Evaluated", "read_run", "render", "write_report"]
