"""Run folders made by hand: score files with the results that `fasbench run` would write for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fasbench.evaluation import evaluate_scores
from fasbench.metrics import Scores
from fasbench.replicates import pack
from fasbench.resources import sha256_file
from fasbench.results import Provenance, Result, Runtime
from fasbench.runfolder import place_of, scores_of
from fasbench.scorefile import ScoreFile, ScoreMeta, read_scores

REPLICATES = 40


def part(name: str, quality: float, seed: int, people: int = 30) -> Scores:
    """Each person with a live video and a print, two frames each; `quality` moves live scores up, attacks down."""
    noise = np.random.default_rng([seed, len(name)]).normal(size=4 * people)
    labels = np.tile([1, 1, 0, 0], people)
    scores = 1 / (1 + np.exp(-(noise + quality * (2 * labels - 1))))
    units = np.repeat([f"{name}/p{number}" for number in range(people)], 4)
    videos = np.array([f"{unit}/{'live' if label else 'print'}" for unit, label in zip(units, labels, strict=True)])
    ids = np.array([f"{video}/{number % 2}" for number, video in enumerate(videos)])
    kinds = np.where(labels == 1, "live", "print")
    families = np.where(labels == 1, "", "flat")
    domains = np.full(len(labels), name.partition("/")[0])
    return Scores(scores, labels, units, videos, domains, kinds, ids, groups={"attack_family": families})


def make_run(
    folder: Path,
    method: str,
    quality: float,
    splits: tuple[str, ...] = ("lm-k", "kl-m"),
    seeds: tuple[int, ...] = (0,),
    selections: tuple[str, ...] = ("source-val",),
    conditions: tuple[str, ...] = ("full",),
    **changes: object,
) -> Path:
    """A run of `method`; `changes` are of the results, or by `meta` of what they are of."""
    meta_changes = changes.pop("meta", {})
    for split in splits:
        for seed in seeds:
            for selection in selections:
                for condition in conditions:
                    meta = ScoreMeta(
                        method=method,
                        protocol="test/made",
                        version=1,
                        split=split,
                        condition=condition,
                        seed=seed,
                        selection=selection,
                        epoch=1,
                    ).model_copy(update=meta_changes)
                    validation, test = (part(f"{split}/{name}", quality, seed) for name in ("validation", "test"))
                    _write(folder, ScoreFile(meta, validation, test), changes)
    return folder


def _write(folder: Path, file: ScoreFile, changes: dict) -> None:
    path = folder / "results" / place_of(file.meta)
    file.write(scores_of(folder, path))
    scores = read_scores(scores_of(folder, path))
    numbers, drawn = evaluate_scores(scores.validation, scores.test, "source-eer", replicates=REPLICATES)
    result = Result(
        evaluation=file.meta,
        synthetic=True,
        preset="tiny",
        fidelity="intended",
        tied_epochs=1,
        metrics=numbers,
        replicates=pack(drawn, "source-eer"),
        rows_sha256=scores.rows_sha256(),
        scores_sha256=sha256_file(scores_of(folder, path)),
        provenance=Provenance(
            fasbench="0.1.0",
            method_sha256="m" * 64,
            protocol_sha256="p" * 64,
            data={},
            training_key="t" * 16,
            initial_weights_sha256="w" * 64,
            weights_sha256="c" * 64,
            versions={},
            config={},
            libraries={},
        ),
        runtime=Runtime(device="cpu", training_seconds=1.0, scoring_seconds=1.0),
    )
    result.model_copy(update=changes).write(path)
