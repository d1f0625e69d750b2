"""The licensed data sets fasbench knows by name: what they are and whom to ask. Their images cannot be shipped."""

from __future__ import annotations

from typing import NamedTuple


class Licensed(NamedTuple):
    letter: str  # in the names of splits: cps-w
    title: str
    reference: str
    obtained: str  # how a researcher gets the images
    terms: str  # what the licence says about showing and keeping them, as far as it is public
    sensors: str
    people: str
    defects: tuple[str, ...]  # of the images; those of the official lists are the protocols' known issues

    def how_to_get(self) -> str:
        return f"{self.title} is licensed: {self.obtained}"

    def notice(self) -> str:
        """The line on every picture made of its images."""
        return f"{self.title}: licensed images, for you alone. {self.terms}"


_CHALLENGE = "https://sites.google.com/view/face-anti-spoofing-challenge"

LICENSED = {
    "cefa": Licensed(
        letter="C",
        title="CASIA-SURF CeFA",
        reference="Liu et al., WACV 2021, arXiv 2003.05136",
        obtained=f"ask for it with the form at {_CHALLENGE}",
        terms="What may be shown is in the agreement you accept; show and pass on nothing before you have read it.",
        sensors="Intel RealSense: RGB, depth, infrared, 1280 x 720 px",
        people="1,607 subjects: 1,500 bona fide with cloth prints and replays, 99 printed and 8 silicone masks",
        defects=(
            "The images show a face on wide black borders, each modality with borders of its own: cutting each to its "
            "own box, as the literature does, moves the modalities against each other (--crop rgb-box keeps them).",
            "A subject's folder may carry an identity card's number, with date of birth and sex; it is neither needed "
            "nor printed.",
        ),
    ),
    "padisi": Licensed(
        letter="P",
        title="PADISI-Face",
        reference="Rostami et al., ICCV 2021, arXiv 2108.12081",
        obtained="sign the data transfer agreement and send the form at "
        "https://github.com/vimal-isi-edu/PADISI_USC_Dataset",
        terms="No face may be published, displayed or given to third parties; for the project named in the agreement "
        "only, not for commercial use; returned at its end.",
        sensors="a station of colour camera, Intel RealSense (near infrared, depth), thermal, stereo near infrared and "
        "short-wave infrared: 22 channels of 320 x 256 px, of which 5 are read",
        people="360 participants, 2,029 samples (1,105 bona fide, 924 attacks of 9 kinds)",
        defects=(
            "The channels are in the order blue, green, red, near infrared, depth, not RGB, infrared, depth.",
            "86 % of the participants are Asian and 82 % aged 18 to 25.",
        ),
    ),
    "surf": Licensed(
        letter="S",
        title="CASIA-SURF",
        reference="Zhang et al., CVPR 2019, arXiv 1812.00408",
        obtained=f"sign the agreement at {_CHALLENGE}",
        terms="What may be shown is in the agreement you sign; show and pass on nothing before you have read it.",
        sensors="Intel RealSense SR300: RGB 1280 x 720 px, depth and infrared 640 x 480 px",
        people="1,000 subjects, each 1 bona fide clip and 6 kinds of cut photo",
        defects=(
            "Faces are cut out on black, colour by another mask than depth and infrared: they differ in size and are "
            "not aligned pixel by pixel.",
            "Print attacks only: replays were left out, because a screen has no depth.",
            "The challenge's releases cannot cover the lists of mmdg/*: each split has three of the six attacks, and "
            "in the first release Val/ and Testing/ have anonymous names.",
        ),
    ),
    "wmca": Licensed(
        letter="W",
        title="WMCA",
        reference="George et al., TIFS 2020, arXiv 1909.08848",
        obtained="accept the licence at https://www.idiap.ch/en/scientific-research/data/wmca",
        terms="Only the recordings named in its documentation (*_illustration_files.csv) may be shown.",
        sensors="Intel RealSense SR300: RGB, depth, near infrared; released as faces of 128 x 128 px, 8 bits. Its "
        "thermal channel is not read",
        people="72 bona fide identities, 1,679 recordings (347 bona fide, 1,332 attacks of 7 classes)",
        defects=(
            "A recording's type digit is not the attack's class: type 3 holds printed and electronic photos, type 1 "
            "glasses and masks. fasbench goes by type and instrument.",
            "A public converter of the packages writes a black image for a frame that a package lacks: in the image "
            "tree a black colour or infrared image counts as missing. In a package it is an error. Rows whose depth is "
            "empty are read, and counted.",
        ),
    ),
}
