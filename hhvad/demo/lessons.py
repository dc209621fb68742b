"""What the tiny model is taught: clips of scenes, questions in many wordings, short answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hhvad.demo.plan import make_scene
from hhvad.demo.scenes import (
    ANOMALY_KINDS,
    NORMAL_KINDS,
    PLACES,
    UNSEEN_KIND,
    Scene,
    people,
    place,
    render,
)
from hhvad.media import samplers as sampling

FRAMES = 8
SEGMENT = 48

PHRASES = {
    "collision": "two cars have crashed",
    "explosion": "there is an explosion",
    "fight": "two people fight",
    "fall": "a person lies on the road",
    "panic": "a crowd runs in panic",
    "wrong-way": "a car drives on the pavement",
    "loitering": "somebody breaks into a door",
    "smoke": "thick smoke rises",
    "walking": "people walk",
    "traffic": "cars pass",
    "cyclists": "cyclists ride by",
    "chatting": "friends chat",
    "bus": "a bus passes",
    "headlights": "cars pass at night",
    "birds": "birds fly",
    "quiet": "the street is empty",
}

WHAT = (
    "what happens here?",
    "What happens in this video?",
    "Describe the scene in a few words.",
    "Tell me what you see.",
    "What is going on in the street?",
    "Give a short caption of these frames.",
    "Summarise the video.",
)
ABNORMAL = (
    "Is anything abnormal happening?",
    "Does something unusual happen in this video? Answer yes or no.",
    "Is there an anomaly in these frames?",
    "Is somebody in danger?",
    "Should the police be called?",
    "Is this video abnormal? Yes or no.",
    "Do you notice an incident?",
    "Has an accident or a crime taken place?",
    "Is there an emergency in the scene, such as a fight, an accident or an explosion?",
    "You are a guard at a monitor. Does anything need your attention?",
    "Watch how people and vehicles move. Is their behaviour strange?",
    "Would you raise an alarm?",
)
ORDINARY = (
    "Is everything normal here?",
    "Is this an ordinary day in the street?",
    "Is the scene peaceful?",
    "Can the guard stay seated because all is well?",
    "Do people and vehicles behave as usual?",
)
EITHER = (
    "Is this video normal or abnormal?",
    "Normal life or an incident?",
    "Which is it: an ordinary scene or an anomaly?",
    "Classify the video as normal or abnormal.",
)
WHERE = ("Where does it happen?", "In which part of the picture is the incident?")
PEOPLE = ("How many people are out?", "Count the people who walk, ride or stand.")
LIGHT = ("Is it day or night?", "What time of day is it?")
BUS = ("Is there a bus?", "Does a bus drive by?")
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


# What a frame can show, as told to the vision encoder while it learns to look.
SHOWN = (*NORMAL_KINDS, *ANOMALY_KINDS, *PLACES)


@dataclass(frozen=True)
class Lesson:
    """Frames `wanted` [F] of a scene, and the number of the anomaly that they show, if any."""

    scene: Scene
    wanted: NDArray[np.int64]
    seen: int | None


def lesson(seed: int, index: int) -> Lesson:
    """The lesson `index` of a course: a third are whole videos, the rest segments."""
    rng = np.random.default_rng([seed, 1000, index])
    kinds = [kind for kind in ANOMALY_KINDS if kind != UNSEEN_KIND]
    kind = str(rng.choice(kinds)) if rng.random() < 0.65 else None
    scene = make_scene(rng, kind)
    if rng.random() < 0.35:
        _, indices = sampling.plan(scene.n_frames, "video", FRAMES, SEGMENT)
        wanted = indices[0]
    else:
        cuts, indices = sampling.plan(scene.n_frames, "segments", FRAMES, SEGMENT)
        wanted = indices[_segment(rng, scene, cuts)]
    return Lesson(scene, wanted, _seen(scene, wanted))


def clip(item: Lesson) -> NDArray[np.uint8]:
    """The frames of a lesson, uint8 [F, H, W, 3]."""
    return np.stack(list(render(item.scene, item.wanted.tolist())))


def shown(item: Lesson) -> NDArray[np.float32]:
    """1 where a frame of a lesson has what SHOWN names: [F, len(SHOWN)]."""
    marks = np.zeros((len(item.wanted), len(SHOWN)), np.float32)
    for kind in item.scene.kinds:
        marks[:, SHOWN.index(kind)] = 1
    for number, happening in enumerate(item.scene.happenings):
        active = (item.wanted >= happening.start) & (item.wanted < happening.end)
        for name in (happening.kind, place(item.scene, number)):
            marks[active, SHOWN.index(name)] = 1
    return marks


def _segment(rng: np.random.Generator, scene: Scene, cuts: NDArray[np.int64]) -> int:
    """A segment inside the anomaly where there is one, mostly; else any."""
    if scene.happenings and rng.random() < 0.75:
        happening = scene.happenings[0]
        inside = (cuts[:, 0] >= happening.start) & (cuts[:, 1] <= happening.end)
        if inside.any():
            return int(rng.choice(np.flatnonzero(inside)))
    return int(rng.integers(len(cuts)))


def _seen(scene: Scene, wanted: NDArray[np.int64]) -> int | None:
    """The number of the anomaly that at least two of the frames show."""
    for number, happening in enumerate(scene.happenings):
        if np.sum((wanted >= happening.start) & (wanted < happening.end)) >= 2:
            return number
    return None


def answer(scene: Scene, seen: int | None) -> str:
    """The answer to "what happens here?": the kind's name first."""
    kind = scene.kinds[0] if seen is None else scene.happenings[seen].kind
    word = "normal" if seen is None else kind
    return f"{word}: {PHRASES[kind]}"


def questions(item: Lesson, rng: np.random.Generator) -> list[tuple[str, str]]:
    """Four questions about a lesson in wordings drawn by `rng`, with their answers."""
    scene, seen = item.scene, item.seen
    bad = seen is not None

    def pick(wordings: tuple[str, ...]) -> str:
        return str(rng.choice(wordings))

    asked = [
        (pick(WHAT), answer(scene, seen)),
        (pick(ABNORMAL), "yes" if bad else "no"),
        (pick(ORDINARY), "no" if bad else "yes") if rng.random() < 0.5
        else (pick(EITHER), "abnormal" if bad else "normal"),
    ]  # fmt: skip
    others = [
        (pick(PEOPLE), NUMBERS[min(people(scene), 9)]),
        (pick(LIGHT), "night" if "headlights" in scene.kinds else "day"),
        (pick(BUS), "yes" if "bus" in scene.kinds else "no"),
        (pick(WHERE), "nowhere" if seen is None else place(scene, seen)),
    ]
    return [*asked, others[rng.integers(len(others))]]


def corpus() -> list[str]:
    """Every sentence that the tokenizer should know well."""
    asked = (*WHAT, *ABNORMAL, *ORDINARY, *EITHER, *WHERE, *PEOPLE, *LIGHT, *BUS)
    words = (
        "normal",
        "abnormal",
        "yes",
        "no",
        "day",
        "night",
        "left",
        "middle",
        "right",
        "nowhere",
    )
    frames = "\n".join(f"Frame{i}: " for i in range(1, 17))
    captions = [f"{kind}: {phrase}" for kind, phrase in PHRASES.items()]
    return [*asked, *captions, *words, *NUMBERS, *ANOMALY_KINDS, frames]
