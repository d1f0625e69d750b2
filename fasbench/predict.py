"""Predictions of a trained run for loose images: the score, and the decision at a threshold the run evaluated.

    run = open_run(Path("runs/synth/fixed@1/erm-tiny-1a2b3c4d"), split="lmn-k")
    gathered = samples_of_folder(Path("door-camera"))
    predictions = predict(run, gathered)

A threshold belongs to the modalities it was set for. Which those are follows from the files of each sample; what the
run was not evaluated for is refused, not decided.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch

import fasbench
from fasbench.data.loose import Decoding, Gathered, LooseRows, Sample
from fasbench.data.record import MODALITIES
from fasbench.data.sources.images import Range
from fasbench.device import resolve_device
from fasbench.errors import ConfigError, DataError, problem_list
from fasbench.metrics import POLICIES
from fasbench.metrics.policies import get_policy
from fasbench.results import Result
from fasbench.scoring import score_rows
from fasbench.trained import TrainedRun

Absent = frozenset[str]


@dataclass(frozen=True)
class Prediction:
    """One sample: accepted as live iff `score >= threshold`."""

    id: str
    score: float  # how live, 0 .. 1
    decision: str  # live | attack
    threshold: float
    policy: str  # that set the threshold
    condition: str  # of the protocol, that the threshold was set for


@dataclass(frozen=True)
class Predictions:
    """Predictions in the order of the samples, the results they stand on, and what a reader must know."""

    predictions: tuple[Prediction, ...]
    results: tuple[Result, ...]  # one a condition that occurs
    notes: tuple[str, ...]

    @property
    def title(self) -> str:
        e = self.results[0].evaluation
        epochs = ", ".join(str(epoch) for epoch in sorted({result.evaluation.epoch for result in self.results}))
        where = f"{e.protocol}@{e.version}/{e.split}"
        return f"{e.method} trained on {where}, seed {e.seed}, selection {e.selection} (epoch {epochs})"

    def as_json_object(self) -> dict[str, Any]:
        e = self.results[0].evaluation
        return {
            "method": e.method,
            "protocol": f"{e.protocol}@{e.version}",
            "split": e.split,
            "seed": e.seed,
            "selection": e.selection,
            "epoch": {result.evaluation.condition: result.evaluation.epoch for result in self.results},
            "result_sha256": {result.evaluation.condition: result.content_sha256 for result in self.results},
            "synthetic": self.results[0].synthetic,
            "partial": e.partial,
            "notes": list(self.notes),
            "predictions": [asdict(prediction) for prediction in self.predictions],
        }

    def as_csv(self) -> str:
        text = io.StringIO()
        writer = csv.DictWriter(text, [field.name for field in fields(Prediction)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(prediction) for prediction in self.predictions)
        return text.getvalue()


def predict(
    run: TrainedRun,
    gathered: Gathered,
    policy: str | None = None,
    ranges: Mapping[str, Range] | None = None,
    resize: bool = False,
    device: str = "auto",
) -> Predictions:
    """Score and decide every sample.

    Args:
        policy: threshold policy; None = the protocol's headline policy.
        ranges: raw values of 16-bit depth and ir files that become 0 and 255.
        resize: let files of another size than the run's data be resized.

    Raises:
        ConfigError: a policy, range or device that is not possible.
        DataError: everything that is wrong with the samples, and what the run was not evaluated for, in one list.
        FasbenchError: the weights are gone or do not fit.
    """
    policy = policy or run.results[0].headline.policy
    _check_policy(policy)
    chosen = torch.device(resolve_device(device))
    manifests = run.manifests()
    decoding, notes = make_decoding(run, manifests, dict(ranges or {}), resize)
    missing = never_delivered(run, manifests)
    matched = {absent: find_result(run, absent, missing) for absent in {sample.absent for sample in gathered.samples}}
    used = [result for result in run.results if result in matched.values()]
    thresholds = {result.evaluation.condition: stored_threshold(result, policy) for result in used}
    for result in used:
        run.folder(result)  # what cannot be mended in the input comes first
    problems = [*gathered.problems, *(text for sample in gathered.samples for text in decoding.problems(sample))]
    for absent in sorted((absent for absent, result in matched.items() if result is None), key=sorted):
        problems.append(_not_evaluated(run, absent, missing, [s for s in gathered.samples if s.absent == absent]))
    if problems:
        raise DataError(problem_list(f"nothing was scored: {len(problems)} problem(s)", problems))

    predictions: dict[int, Prediction] = {}
    for result in used:
        places = [place for place, sample in enumerate(gathered.samples) if matched[sample.absent] is result]
        condition = result.evaluation.condition
        rows = LooseRows([gathered.samples[place] for place in places], decoding)
        batch_size = result.provenance.config["train"]["score_batch_size"]
        scores = score_rows(run.method(result, chosen), rows, chosen, batch_size)
        for place, score in zip(places, scores.tolist(), strict=True):
            decision = "live" if score >= thresholds[condition] else "attack"
            identity = gathered.samples[place].id
            predictions[place] = Prediction(identity, score, decision, thresholds[condition], policy, condition)
    ordered = tuple(predictions[place] for place in range(len(gathered.samples)))
    return Predictions(ordered, tuple(used), (*_notes(used, policy), *notes, *gathered.notes))


# --- which threshold --------------------------------------------------------------------------------------------------


def _check_policy(name: str) -> None:
    if get_policy(name).oracle:
        legal = ", ".join(known for known, policy in POLICIES.items() if not policy.oracle)
        raise ConfigError(
            f"--policy {name} is set by the labels of the test set, which no device has when it decides. Choose one "
            f"of: {legal}"
        )


def stored_threshold(result: Result, policy: str) -> float:
    """The frame-level threshold that a policy set in a result.

    Raises:
        ConfigError: the result does not hold it, or it is undefined.
    """
    stored = result.metrics["levels"]["frame"]["policies"]
    if policy not in stored:
        raise ConfigError(f"{result.name} holds no policy '{policy}', only: {', '.join(stored)}")
    if stored[policy]["threshold"] is None:
        raise ConfigError(f"{result.name} has no threshold by '{policy}': {stored[policy]['undefined']['threshold']}")
    return float(stored[policy]["threshold"])


def find_result(run: TrainedRun, absent: Absent, missing: Absent = frozenset()) -> Result | None:
    """The run's result under the condition that takes away exactly `absent`.

    A sample comes with what is absent, so where two conditions do it the one goes first whose threshold was set
    knowing that. Degraded conditions are never chosen: nobody can say that an image has that defect and no other.

    Args:
        missing: modalities that the run's data never hold, under any condition.
    """
    rules = run.protocol.conditions
    fitting = [
        result
        for result in run.results
        if not (rule := rules[result.evaluation.condition]).degrade and missing.union(rule.absent) == absent
    ]
    return min(fitting, key=lambda result: rules[result.evaluation.condition].validation != "same", default=None)


def never_delivered(run: TrainedRun, manifests: Mapping[str, dict[str, Any]]) -> Absent:
    """Modalities of which the evaluated data hold not one image, where the prepared data are still there to tell."""
    split = run.protocol.splits[run.results[0].evaluation.split]
    parts = [*split.parts("validation"), *split.parts("test")]
    if any(part.dataset not in manifests for part in parts):
        return frozenset()
    held = [manifests[part.dataset]["splits"].get(part.split, {}).get("present", {}) for part in parts]
    return frozenset(name for name in MODALITIES if not any(present.get(name, 0) for present in held))


def _not_evaluated(run: TrainedRun, absent: Absent, missing: Absent, samples: list[Sample]) -> str:
    """Why samples without these modalities are refused, and what would change that."""
    rules = run.protocol.conditions
    done = {result.evaluation.condition for result in run.results}
    known: dict[str, list[str]] = {}
    for name, rule in rules.items():
        if name in done and not rule.degrade:
            known.setdefault(_held(missing.union(rule.absent)), []).append(name)
    evaluated = ", ".join(f"{held} ({', '.join(names)})" for held, names in known.items())
    text = (
        f"{len(samples)} sample(s) with {_held(absent)}, e.g. {samples[0].name}: the run was evaluated for "
        f"{evaluated or 'degraded sensors only'}. "
    )
    if run.single:
        text += "Name the run's folder, not one result, if it holds more. "
    for name, rule in rules.items():
        if not rule.degrade and missing.union(rule.absent) == absent:
            return f"{text}Evaluate that too; a training that is there is kept: {run.command(name)}"
    if unseen := sorted(missing - absent):
        return f"{text}Its data hold no {' and no '.join(unseen)}: leave it out"
    left = [name for name in MODALITIES if name not in absent]
    removed = [name for name in MODALITIES if name in absent]
    name = f"{left[0]}-only" if len(left) == 1 else f"no-{removed[0]}" if removed else "full"
    return (
        f"{text}Its protocol has no such condition: give a copy of {run.protocol.path.name} an id of its own and, "
        f"under conditions, '{name}: {{absent: [{', '.join(removed)}]}}', and run that"
    )


def _held(absent: Absent) -> str:
    return " + ".join(name for name in MODALITIES if name not in absent)


# --- what the images must be ------------------------------------------------------------------------------------------


def make_decoding(
    run: TrainedRun, manifests: Mapping[str, dict[str, Any]], ranges: dict[str, Range], resize: bool
) -> tuple[Decoding, list[str]]:
    """How files become images as the run's data are, and notes on what could not be told or differs."""
    notes = []
    data = run.results[0].provenance.data
    shapes = {(int(height), int(width)) for height, width in (m["shape"] for m in manifests.values())}
    if gone := sorted(data.keys() - manifests.keys()):
        text = f"the prepared data of the run are gone ({', '.join(gone)})"
        if not shapes:
            size = run.results[0].provenance.config["model"]["image_size"]
            shapes = {(size, size)}
            text += f": the model's own input size, {size} x {size} px, is taken for their size"
        notes.append(text)
    known: dict[str, dict[str, None]] = {}
    for name in data:
        for modality, (low, high) in run.protocol.datasets[name].range.items():
            known.setdefault(modality, {})[f"{name} {modality}={low:g}:{high:g}"] = None
            if modality in ranges and ranges[modality] != (low, high):
                given = f"{modality}={ranges[modality][0]:g}:{ranges[modality][1]:g}"
                notes.append(f"{name} was prepared with {modality}={low:g}:{high:g}, not with {given}")
    texts = {modality: ", ".join(found) for modality, found in known.items()}
    return Decoding(tuple(sorted(shapes)), resize, ranges, texts), notes


def _notes(used: list[Result], policy: str) -> list[str]:
    """What a reader of the decisions must know about the run."""
    first = used[0]
    notes = []
    if first.synthetic:
        notes.append("trained on rendered faces: says nothing about real ones")
    if first.evaluation.partial:
        notes.append("trained on a part of the data (--limit-videos)")
    if first.headline.level != "frame":
        notes.append(f"the protocol's headline is at {first.headline.level} level; single images are decided by frame")
    if first.provenance.fasbench != fasbench.__version__:
        notes.append(f"the run was made by fasbench {first.provenance.fasbench}, this is {fasbench.__version__}")
    for result in used:
        level = result.metrics["levels"]["frame"]
        for warning in (*level["warnings"], *level["policies"][policy]["warnings"]):
            notes.append(f"{result.evaluation.condition}: {warning}")
    return notes
