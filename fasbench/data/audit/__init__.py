"""Auditing a protocol's data: leaks, duplicates, shortcuts, modalities that are not what they are called.

    report = audit(load_protocol(path))
    [finding.id for finding in report.new]

Every finding is either documented in the protocol (`known_issues`) or new. Metadata come from prepared stores, or from
the official lists where a licensed data set is not prepared; pixels from prepared stores only.
"""

from fasbench.data.audit.auditing import audit, audit_tables
from fasbench.data.audit.report import Finding, Report
from fasbench.data.audit.table import Table

__all__ = ["Finding", "Report", "Table", "audit", "audit_tables"]
