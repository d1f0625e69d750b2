"""The licensed data sets fasbench knows by name: what they are and whom to ask. Their images cannot be shipped."""

from __future__ import annotations

from typing import NamedTuple


class Licensed(NamedTuple):
    letter: str  # in the names of splits: cps-w
    title: str
    reference: str
    obtained: str  # how a researcher gets the images

    def how_to_get(self) -> str:
        return f"{self.title} is licensed: {self.obtained}"


_CHALLENGE = "https://sites.google.com/view/face-anti-spoofing-challenge"

LICENSED = {
    "cefa": Licensed(
        "C",
        "CASIA-SURF CeFA",
        "Liu et al., WACV 2021, arXiv 2003.05136",
        f"ask for it with the form at {_CHALLENGE}",
    ),
    "padisi": Licensed(
        "P",
        "PADISI-Face",
        "Rostami et al., ICCV 2021, arXiv 2108.12081",
        "sign the data transfer agreement and send the form at https://github.com/vimal-isi-edu/PADISI_USC_Dataset",
    ),
    "surf": Licensed(
        "S",
        "CASIA-SURF",
        "Zhang et al., CVPR 2019, arXiv 1812.00408",
        f"sign the agreement at {_CHALLENGE}",
    ),
    "wmca": Licensed(
        "W",
        "WMCA",
        "George et al., TIFS 2020, arXiv 1909.08848",
        "accept the licence at https://www.idiap.ch/en/scientific-research/data/wmca",
    ),
}
