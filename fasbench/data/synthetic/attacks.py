"""The presentations: a live face, and nine ways to show somebody else's.

Every builder draws what stays still for a whole video onto the stage's base canvas and returns a function that gives,
for one frame's motion, the moving reliefs with their places.
"""

from __future__ import annotations

from collections.abc import Callable

from fasbench.data.synthetic import flat, solid
from fasbench.data.synthetic.head import head
from fasbench.data.synthetic.scene import Mover, Stage, torso


def live(stage: Stage) -> Mover:
    stage.base.put(torso(stage.identity, stage.rng), stage.camera)
    return lambda motion: [(head(stage.identity, motion.expression).relief(), motion.place())]


PRESENTATIONS: dict[str, Callable[[Stage], Mover]] = {
    "live": live,
    "print-flat": flat.print_flat,
    "print-curved": flat.print_curved,
    "print-cut": flat.print_cut,
    "replay": flat.replay,
    "papermask": solid.papermask,
    "rigidmask": solid.rigidmask,
    "flexiblemask": solid.flexiblemask,
    "fakehead": solid.fakehead,
    "glasses": solid.glasses,
}
ON_SUPPORT = ("print-flat", "print-curved", "replay")  # may stand on a support instead of being held
STATIC = ("fakehead",)
