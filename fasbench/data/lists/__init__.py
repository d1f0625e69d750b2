"""Official lists of the licensed data sets: their grammar, where a user's copy lies, and what they hold.

The lists say which frames belong to a protocol; they are not shipped. `fasbench data lists` gets them.
"""

from fasbench.data.lists.reading import ListRow, Trial, read_ground_truth, read_list
from fasbench.data.lists.rows import protocol_rows

__all__ = ["ListRow", "Trial", "protocol_rows", "read_ground_truth", "read_list"]
