"""What the tiny CLIP is taught: frames of scenes, texts, and which text is true of which frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hhvad.demo.lessons import PHRASES, SHOWN
from hhvad.demo.plan import make_scene
from hhvad.demo.scenes import ANOMALY_KINDS, UNSEEN_KIND, Scene, place

FRAMES = 6  # per scene
KINDS = tuple(PHRASES)
_NORMAL = tuple(kind for kind in KINDS if kind not in ANOMALY_KINDS)
_ABNORMAL = tuple(kind for kind in KINDS if kind in ANOMALY_KINDS)
_MIRROR = {"left": "right", "right": "left"}


@dataclass(frozen=True)
class Text:
    """A text and the kinds of ordinary life and of anomalies that it speaks of."""

    text: str
    normal: frozenset[str]
    abnormal: frozenset[str]


@dataclass(frozen=True)
class Shot:
    """`FRAMES` frames of a scene; `seen` has the number of the anomaly of each, or None."""

    scene: Scene
    wanted: tuple[int, ...]
    seen: tuple[int | None, ...]

    def kind(self, frame: int) -> str | None:
        """The anomaly that frame number `frame` of the shot shows."""
        number = self.seen[frame]
        return None if number is None else self.scene.happenings[number].kind


def shot(seed: int, index: int) -> Shot:
    """The shot `index` of a course. Seven of ten scenes have an anomaly, in half of the frames."""
    rng = np.random.default_rng([seed, 3000, index])
    kinds = [kind for kind in ANOMALY_KINDS if kind != UNSEEN_KIND]
    scene = make_scene(rng, str(rng.choice(kinds)) if rng.random() < 0.7 else None)
    active = np.full(scene.n_frames, -1)
    for number, happening in enumerate(scene.happenings):
        active[happening.start : happening.end] = number
    bad, calm = np.flatnonzero(active >= 0), np.flatnonzero(active < 0)
    n_bad = FRAMES // 2 if len(bad) else 0
    picked = np.concatenate(
        [rng.choice(bad, n_bad, replace=False), rng.choice(calm, FRAMES - n_bad, replace=False)]
        if n_bad
        else [rng.choice(calm, FRAMES, replace=False)]
    )
    wanted = np.sort(picked).astype(int)
    seen = tuple(None if active[f] < 0 else int(active[f]) for f in wanted)
    return Shot(scene, tuple(wanted.tolist()), seen)


def attributes(item: Shot, mirrored: bool) -> NDArray[np.float32]:
    """1 where a frame of a shot has what lessons.SHOWN names: [FRAMES, len(SHOWN)]."""
    marks = np.zeros((FRAMES, len(SHOWN)), np.float32)
    for kind in item.scene.kinds:
        marks[:, SHOWN.index(kind)] = 1
    for frame, number in enumerate(item.seen):
        if number is not None:
            where = place(item.scene, number)
            where = _MIRROR.get(where, where) if mirrored else where
            marks[frame, SHOWN.index(item.scene.happenings[number].kind)] = 1
            marks[frame, SHOWN.index(where)] = 1
    return marks


def texts(shots: list[Shot], rng: np.random.Generator) -> list[Text]:
    """The phrase of each kind; per shot one "First ..., then ..." of it, and one at random."""
    found = [_text([kind], rng) for kind in KINDS]
    for item in shots:
        normal = str(rng.choice(item.scene.kinds))
        bad = [kind for kind in map(item.kind, range(FRAMES)) if kind]
        other = str(rng.choice(bad)) if bad else str(rng.choice(_NORMAL))
        found.append(_text([normal, other], rng))
        found.append(_text([str(rng.choice(_NORMAL)), str(rng.choice(KINDS))], rng))
    return found


def _text(kinds: list[str], rng: np.random.Generator) -> Text:
    rng.shuffle(kinds)
    phrases = [PHRASES[kind] for kind in dict.fromkeys(kinds)]
    text = phrases[0] if len(phrases) == 1 else f"First {', then '.join(phrases)}"
    if rng.random() < 0.3:
        text = text[0].upper() + text[1:]
    if rng.random() < 0.3:
        text += "."
    return Text(text, frozenset(kinds) & set(_NORMAL), frozenset(kinds) & set(_ABNORMAL))


def true(text: Text, item: Shot, frames: list[int]) -> bool:
    """Whether a text is true of frames of a shot.

    It must name each anomaly that they show and no other, and only ordinary life that goes on in
    the scene. Ordinary life counts only where a frame shows no anomaly: of a picture of a crash,
    "people walk" is false.
    """
    states = [item.kind(frame) for frame in frames]
    calm = None in states
    if text.abnormal != {kind for kind in states if kind}:
        return False
    if not calm:
        return not text.normal
    return bool(text.normal) and text.normal <= set(item.scene.kinds)
