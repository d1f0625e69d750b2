"""The attack taxonomy: one table that maps every data set's own codes to a coarse class.

Coarse classes carry the metrics (APCER is computed per coarse class); the data set's own code or name is kept as the
fine class. Sources: the WMCA type_pai table with the seven attack lists of Flex-Modal, the CeFA file-name grammar, the
PADISI ground-truth codes, the CASIA-SURF folder names.
"""

from __future__ import annotations

from typing import NamedTuple

from fasbench.errors import DataError, suggest

COARSE = {
    "live": "bona fide presentation",
    "print": "printed photo, flat or bent, on paper or cloth",
    "cutprint": "printed photo with regions cut out (eyes, nose, mouth)",
    "replay": "photo or video on a screen",
    "papermask": "mask folded or glued from printed paper",
    "rigidmask": "hard mask: plastic, resin, transparent, half, 3-D print",
    "flexiblemask": "silicone or latex mask",
    "fakehead": "mannequin head",
    "glasses": "disguise glasses: funny eyes, printed paper glasses",
    "makeup": "make-up that impersonates or obfuscates",
    "tattoo": "tattoo-like patterns on the face",
    "other": "anything else",
}

# What an attack shows to a depth sensor. CeFA's test, for one, is reported with its masks (all attacks) and without.
FAMILIES = {
    "flat": ("print", "cutprint", "replay"),
    "mask": ("papermask", "rigidmask", "flexiblemask", "fakehead"),
    "disguise": ("glasses", "makeup", "tattoo"),  # most of the presenter's own face stays visible
    "other": ("other",),
}
_FAMILY_OF = {coarse: family for family, classes in FAMILIES.items() for coarse in classes}


class Attack(NamedTuple):
    coarse: str
    fine: str


def _codes(kind: int, *numbers: int) -> list[str]:
    return [f"{kind}_{number:02d}" for number in numbers]


# WMCA: `type_pai` of the recording name CCC_SS_PPP_T_AA. The type digit is not the class: 3_05, 3_10 and 3_15 are
# "photos" shown on a screen, 1_02, 1_13 and 1_14 are masks among the disguises.
_WMCA_CLASSES = {
    "live": _codes(0, 0, 1, 2),
    "glasses": _codes(1, 1, 4, 5, 6, 7, 15, 16),
    "rigidmask": _codes(1, 2, 13, 14) + _codes(2, *range(12, 18)),
    "fakehead": _codes(2, *range(1, 8)),
    "papermask": _codes(2, *range(8, 12)),
    "flexiblemask": _codes(2, 18, *range(75, 100)),
    "print": _codes(3, 1, 2, 3, 4, 6, 7, 8, 9, 11, 12, 13, 14),
    "replay": _codes(3, 5, 10, 15) + _codes(4, *range(1, 19)),
}

TAXONOMY: dict[str, dict[str, Attack]] = {
    "wmca": {code: Attack(coarse, code) for coarse, codes in _WMCA_CLASSES.items() for code in codes},
    # CASIA-SURF CeFA: `<device>_<session>_<pai>` of the 2-D part, the leading digit of the 3-D part.
    "cefa": {
        "1_1_1": Attack("live", "live"),
        "3_1_2": Attack("print", "cloth-indoor"),
        "3_2_2": Attack("print", "cloth-outdoor"),
        "3_1_4": Attack("replay", "replay-indoor"),
        "mask-1": Attack("rigidmask", "3d-print-mask"),
        "mask-2": Attack("flexiblemask", "silicone-mask"),
    },
    # PADISI-Face: first four characters of the ground truth `m5<code><species>`. "paper" and the three hard masks
    # are assigned by their names; the data set's agreement gives no more detail.
    "padisi": {
        "m000": Attack("live", "live"),
        "m501": Attack("glasses", "partial-funny-eyes"),
        "m502": Attack("print", "paper"),
        "m503": Attack("fakehead", "mask-mannequin"),
        "m504": Attack("rigidmask", "mask-half"),
        "m505": Attack("rigidmask", "mask-transparent"),
        "m506": Attack("makeup", "makeup"),
        "m507": Attack("flexiblemask", "mask-silicone"),
        "m508": Attack("glasses", "partial-paper-glasses"),
        "m509": Attack("tattoo", "tattoo"),
    },
    # CASIA-SURF: folder name; e, n, m = eyes, nose, mouth cut out; s = flat, b = bent.
    "surf": {
        "live": Attack("live", "live"),
        **{
            code: Attack("cutprint", code)
            for code in ("01_e_s", "02_e_b", "03_en_s", "04_en_b", "05_enm_s", "06_enm_b")
        },
    },
    "synth": {
        "live": Attack("live", "live"),
        "print-flat": Attack("print", "print-flat"),
        "print-curved": Attack("print", "print-curved"),
        "print-cut": Attack("cutprint", "print-cut"),
        "replay": Attack("replay", "replay"),
        "papermask": Attack("papermask", "papermask"),
        "rigidmask": Attack("rigidmask", "rigidmask"),
        "flexiblemask": Attack("flexiblemask", "flexiblemask"),
        "fakehead": Attack("fakehead", "fakehead"),
        "glasses": Attack("glasses", "glasses"),
    },
}


def family(coarse: str) -> str:
    """The family of a coarse class; "" for bona fide, and for a class that is not in the taxonomy.

    >>> family("cutprint"), family("fakehead"), family("live")
    ('flat', 'mask', '')
    """
    return _FAMILY_OF.get(coarse, "")


def lookup(dataset: str, code: str) -> Attack:
    """The taxonomy's class of a data set's own code, e.g. `lookup("wmca", "3_05").coarse == "replay"`.

    Raises:
        DataError: unknown data set or code.
    """
    table = TAXONOMY.get(dataset)
    if table is None:
        raise DataError(f"no attack taxonomy for '{dataset}'.{suggest(dataset, TAXONOMY)} Known: {', '.join(TAXONOMY)}")
    if code not in table:
        raise DataError(f"unknown {dataset} attack code '{code}'.{suggest(code, table)} Known: {', '.join(table)}")
    return table[code]


def parse(text: str) -> Attack:
    """A user's attack name, `coarse` or `coarse/fine`: `print`, `print/laser-a4`, `other/hologram`, `live`.

    Raises:
        DataError: the coarse part is not in the taxonomy.
    """
    coarse, _, fine = text.strip().partition("/")
    if coarse not in COARSE:
        raise DataError(
            f"unknown attack '{text}'.{suggest(coarse, COARSE)} Write one of {', '.join(COARSE)}, "
            f"optionally followed by /<your own name>, e.g. 'print/laser-a4' or 'other/hologram'"
        )
    return Attack(coarse, fine or coarse)
