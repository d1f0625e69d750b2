"""What the paths in the official lists say: one grammar a data set, from the documentation of the data sets.

Sources: WMCA's recording names (George et al., TIFS 2020) with the type_pai table in `fasbench.data.taxonomy`; the
readme of CASIA-SURF CeFA (Liu et al., WACV 2021); CASIA-SURF's folder names (Zhang et al., CVPR 2019); PADISI-Face's
trial ids (Rostami et al., ICCV 2021).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from fasbench.errors import DataError

NO_FRAME = -1  # a list of videos does not say which frames


class Name(NamedTuple):
    """What a path says. Nothing is prefixed with the data set yet; None = the path does not say."""

    video: str
    frame: int  # or NO_FRAME
    code: str | None  # the data set's own attack code, for `taxonomy.lookup`
    subject: str | None  # the identity shown to the camera
    unit: str | None  # what a confidence interval resamples: the person or the instrument
    presenter: str = ""  # who holds or wears an attack; "" = on a support or unknown; the subject for bona fide
    session: str | None = None
    race: str | None = None
    split: str | None = None


class Grammar(NamedTuple):
    """How a data set's rows are written."""

    paths: int  # in a row: 3 (colour, depth, ir), or 1 file that holds all channels
    colour: str  # the folder of colour images; those of the others are named depth and ir
    form: str  # the path, for people
    parse: Callable[[str], Name]  # raises DataError


def modality_paths(grammar: Grammar, paths: list[str]) -> tuple[str, str, str]:
    """The paths of the three modalities; only the modality's folder may differ.

    Raises:
        DataError: they are not of one frame.
    """
    if grammar.paths == 1:
        return paths[0], paths[0], paths[0]
    colour, *others = paths
    folder, _, frame = colour.rpartition("/")
    stem = folder.removesuffix(f"/{grammar.colour}")
    for found, modality in zip(others, ("depth", "ir"), strict=True):
        if found != f"{stem}/{modality}/{frame}":
            raise DataError(f"{modality} is '{found}', expected '{stem}/{modality}/{frame}', the frame of '{colour}'")
    return colour, others[0], others[1]


def _match(pattern: re.Pattern[str], path: str, dataset: str) -> re.Match[str]:
    if found := pattern.fullmatch(path):
        return found
    raise DataError(f"'{path}' is no {dataset} name, expected {GRAMMARS[dataset].form}")


# CCC_SS_PPP_T_AA: client (the identity shown), session, presenter, type, instrument.
_WMCA = re.compile(
    r"WMCA-Image/R_CDIT/(?P<video>(?P<client>\d{3})_(?P<session>0[1-7])_(?P<presenter>\d{3})_(?P<code>\d_\d{2}))"
    r"/color/(?P<frame>\d{4})\.jpg"
)


def parse_wmca(path: str) -> Name:
    """WMCA: `WMCA-Image/R_CDIT/<recording>/color/<frame>.jpg`.

    >>> parse_wmca("WMCA-Image/R_CDIT/901_01_902_2_81/color/0012.jpg")[:6]
    ('901_01_902_2_81', 12, '2_81', '901', '2_81', '902')
    """
    found = _match(_WMCA, path, "wmca")
    live = found["code"].startswith("0_")
    on_support = found["presenter"] == "000"  # so is every bona fide recording written
    if live and not on_support:
        raise DataError(f"'{found['video']}' is bona fide (type 0) but names presenter {found['presenter']}, not 000")
    return Name(
        video=found["video"],
        frame=int(found["frame"]),
        code=found["code"],
        subject=found["client"],
        unit=found["client"] if live else found["code"],  # the instrument: no code stands in two splits
        presenter=found["client"] if live else "" if on_support else found["presenter"],
        session=found["session"],
    )


# <race>_<id>_<device>_<session>_<pai>: device 1 rssdk, 3 bag; session 1 indoor, 2 outdoor;
# pai 1 real, 2 cloth, 4 screen.
_CEFA_RACE = re.compile(
    r"CeFA/CeFA-Race/(?P<race>AF|CA|EA)/(?P<subject>(?P=race)-(?P<person>\d{3}))"
    r"/(?P<video>(?P<digit>[123])_(?P=person)_(?P<code>\d_(?P<session>[123])_\d))/profile/(?P<frame>\d{4})\.jpg"
)
# <kind>_<id>_<dress or wig>_<glasses>_<device>_<session>_<light>
_CEFA_MASK = re.compile(
    r"CeFA/CeFA-Mask/(?P<kind>3D-Mask|Silicone-Mask)/(?P<mask>\d{3})"
    r"/(?P<video>(?P<digit>[12])_(?P=mask)_[01]_[01]_[12]_(?P<session>[12])_[1-4])/profile/(?P<frame>\d{4})\.jpg"
)
_CEFA_RACES = {"1": "AF", "2": "CA", "3": "EA"}
_CEFA_MASKS = {"1": "3D-Mask", "2": "Silicone-Mask"}


def parse_cefa(path: str) -> Name:
    """CeFA: `CeFA/CeFA-Race/<race>/<subject>/<video>/profile/<frame>.jpg`, or a mask below `CeFA/CeFA-Mask/`.

    >>> parse_cefa("CeFA/CeFA-Race/AF/AF-900/1_900_1_1_1/profile/0026.jpg")[:5]
    ('1_900_1_1_1', 26, '1_1_1', 'AF-900', 'AF-900')
    """
    if mask := _CEFA_MASK.fullmatch(path):
        if _CEFA_MASKS[mask["digit"]] != mask["kind"]:
            raise DataError(f"'{mask['video']}' names kind {mask['digit']} but lies in the folder {mask['kind']}")
        identity = f"{mask['kind']}-{mask['mask']}"
        code = f"mask-{mask['digit']}"
        return Name(mask["video"], int(mask["frame"]), code, identity, identity, session=mask["session"])
    found = _match(_CEFA_RACE, path, "cefa")
    if _CEFA_RACES[found["digit"]] != found["race"]:
        raise DataError(f"'{found['video']}' names race {found['digit']} but lies in the folder {found['race']}")
    return Name(
        video=found["video"],
        frame=int(found["frame"]),
        code=found["code"],
        subject=found["subject"],
        unit=found["subject"],
        presenter=found["subject"] if found["code"] == "1_1_1" else "",
        session=found["session"],
        race=found["race"],
    )


_CEFA_VIDEO = re.compile(r"CASIA_CeFA/(?P<part>Ethnicity|Mask)/(?P<video>[^/]+/[^/]+/[^/]+)/color")
_CEFA_PARTS = {"Ethnicity": "CeFA-Race", "Mask": "CeFA-Mask"}


def parse_cefa_video(path: str) -> tuple[Name, str]:
    """A video of CeFA as CASIA-FAS-Dataset lists it, and the path of its frames as the frame lists have it.

    >>> name, path = parse_cefa_video("CASIA_CeFA/Ethnicity/EA/EA-900/3_900_1_1_1/color")
    >>> name.video, name.frame, name.code, path
    ('3_900_1_1_1', -1, '1_1_1', 'CeFA/CeFA-Race/EA/EA-900/3_900_1_1_1/profile/*.jpg')
    """
    found = _CEFA_VIDEO.fullmatch(path)
    folder = f"CeFA/{_CEFA_PARTS[found['part']]}/{found['video']}/profile" if found else ""
    if not found or not any(grammar.fullmatch(f"{folder}/0000.jpg") for grammar in (_CEFA_RACE, _CEFA_MASK)):
        raise DataError(
            f"'{path}' is no cefa video, expected CASIA_CeFA/Ethnicity/AF/AF-900/1_900_1_1_1/color or "
            "CASIA_CeFA/Mask/3D-Mask/900/1_900_0_0_2_1_3/color"
        )
    return parse_cefa(f"{folder}/0000.jpg")._replace(frame=NO_FRAME), f"{folder}/*.jpg"


_SURF = re.compile(
    r"CASIA-SURF-CROP/(?P<kind>real|fake)_part/(?P=kind)_(?P<split>train|val|test)_part/(?P<subject>CLKJ_[A-Z]S\d{4})"
    r"/(?P<folder>\w+)\.rssdk/color/(?P<frame>\d+)\.jpg"
)


def parse_surf(path: str) -> Name:
    """CASIA-SURF: `CASIA-SURF-CROP/<kind>_part/<kind>_<split>_part/<subject>/<folder>.rssdk/color/<frame>.jpg`.

    >>> parse_surf("CASIA-SURF-CROP/fake_part/fake_val_part/CLKJ_AS9001/06_enm_b.rssdk/color/181.jpg")[:5]
    ('CLKJ_AS9001/06_enm_b', 181, '06_enm_b', 'CLKJ_AS9001', 'CLKJ_AS9001')
    """
    found = _match(_SURF, path, "surf")
    live = found["folder"] == "real"
    if live != (found["kind"] == "real"):
        raise DataError(f"folder '{found['folder']}' contradicts '{found['kind']}_part'")
    return Name(
        video=f"{found['subject']}/{found['folder']}",
        frame=int(found["frame"]),
        code="live" if live else found["folder"],
        subject=found["subject"],
        unit=found["subject"],
        presenter=found["subject"] if live else "",
        split=found["split"].replace("val", "validation"),
    )


_PADISI = re.compile(r"(?P<trial>[0-9a-z][0-9a-f]{7})\.npz")


def parse_padisi(path: str) -> Name:
    """PADISI-Face: `<trial id>.npz`, one frame; who and which attack is in the ground-truth CSV only.

    >>> parse_padisi("0123abcd.npz")[:3]
    ('0123abcd', 0, None)
    """
    return Name(_match(_PADISI, path, "padisi")["trial"], 0, None, None, None)


GRAMMARS = {
    "cefa": Grammar(
        3,
        "profile",
        "CeFA/CeFA-Race/AF/AF-900/1_900_1_1_1/profile/0001.jpg or "
        "CeFA/CeFA-Mask/3D-Mask/900/1_900_0_0_2_1_3/profile/0001.jpg",
        parse_cefa,
    ),
    "padisi": Grammar(1, "", "<trial id of 8 characters>.npz", parse_padisi),
    "surf": Grammar(
        3, "color", "CASIA-SURF-CROP/fake_part/fake_val_part/CLKJ_AS9001/06_enm_b.rssdk/color/1.jpg", parse_surf
    ),
    "wmca": Grammar(3, "color", "WMCA-Image/R_CDIT/<CCC_SS_PPP_T_AA>/color/0001.jpg", parse_wmca),
}

# Data sets with official lists of videos: what a line's path says, and the path of the video's frames.
VIDEO_GRAMMARS: dict[str, Callable[[str], tuple[Name, str]]] = {"cefa": parse_cefa_video}
