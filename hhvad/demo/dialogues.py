"""What the tiny LLM is taught: to sum up captions in one sentence, and to rate that sentence."""

from __future__ import annotations

import numpy as np

from hhvad.demo.lessons import PHRASES
from hhvad.demo.scenes import ANOMALY_KINDS
from hhvad.methods.lavad.prompts import RATE, SUMMARISE
from hhvad.methods.lavad.rate import rate_messages
from hhvad.methods.lavad.summarise import summarise_messages

Messages = list[dict[str, str]]

# How bad an anomaly is, in tenths.
SEVERITY = {
    "collision": 9,
    "explosion": 10,
    "fight": 8,
    "fall": 7,
    "panic": 9,
    "wrong-way": 7,
    "loitering": 6,
    "smoke": 6,
}
# Words of captions that no demo video has: from these the model learns to copy and to read.
_WHO = ("a dog", "a man", "a woman", "a child", "a truck", "a horse", "a boat", "a house", "a shop")
_CALM = ("waits", "moves slowly", "is seen from above", "stands near a tree", "is at the river")
_HARM = ("burns", "is attacked", "is robbed", "falls down", "is shot at", "is on fire")


def messages(task: str, text: str, wording: str = "rate-any") -> Messages:
    """The chat of one question: `task` is summarise or rate, `text` the user's turn."""
    return summarise_messages(text, SUMMARISE) if task == "summarise" else rate_messages(
        text, RATE[wording]
    )  # fmt: skip


def dialogue(seed: int, index: int, task: str, unseen: bool = False) -> tuple[Messages, str]:
    """The question `index` of a course and its answer.

    unseen: of an ordinary and an abnormal caption that no lesson has together.
    """
    rng = np.random.default_rng([seed, 5000 + (task == "rate"), index, int(unseen)])
    captions = captions_of(rng, unseen)
    said = summary(captions)
    if task == "summarise":
        return summarise_messages("\n ".join(captions), SUMMARISE), said
    wording = str(rng.choice(list(RATE)))
    return rate_messages(said + ".", RATE[wording]), f"[{number(said)}]"


def captions_of(rng: np.random.Generator, unseen: bool = False) -> list[str]:
    """Captions of a window: ordinary life, mostly with an anomaly in part of it; some are wrong."""
    length = int(rng.integers(5, 11)) if rng.random() < 0.8 else int(rng.integers(1, 16))
    while True:
        calm, harm = _caption(rng, abnormal=False), _caption(rng, abnormal=True)
        if _held(calm, harm) == unseen:
            break
    start, end = np.sort(rng.integers(0, length + 1, 2))
    shape = rng.random()
    if shape < 0.25 and not unseen:
        start = end = 0  # nothing happens
    elif shape < 0.4 and not unseen:
        start, end = 0, length  # it happens all the time
    elif shape < 0.6:
        end = length
    captions = [harm if start <= i < end else calm for i in range(length)]
    if rng.random() < 0.15:
        other = _caption(rng, abnormal=False)
        captions = [other if c == calm and rng.random() < 0.5 else c for c in captions]
    if rng.random() < 0.25:
        captions[rng.integers(length)] = _caption(rng, abnormal=bool(rng.random() < 0.5))
    return captions


def summary(captions: list[str]) -> str:
    """What a summary should say: what at least two of the captions say, at most three things.

    A caption that stands alone among four or more is taken for an error.
    """
    counts = {text: captions.count(text) for text in dict.fromkeys(captions)}
    repeated = [text for text, count in counts.items() if count > 1]
    kept = repeated if len(captions) >= 4 and repeated else list(counts)
    said = kept[:3]
    return said[0] if len(said) == 1 else f"First {', then '.join(said)}"


def number(text: str) -> str:
    """The number that a summary deserves: its worst event's, less where it is only a part."""
    tenths = max(
        [SEVERITY[kind] for kind, phrase in PHRASES.items() if kind in SEVERITY and phrase in text]
        + [8 for harm in _HARM if harm in text]
        + [0]
    )
    ordinary = [phrase for kind, phrase in PHRASES.items() if kind not in ANOMALY_KINDS]
    if tenths and any(phrase in text for phrase in (*ordinary, *_CALM)):
        tenths -= 2
    return {0: "0", 10: "1"}.get(tenths, f"0.{tenths}")


def corpus() -> list[str]:
    """Every sentence that the tokenizer should know well."""
    systems = [messages("rate", "", wording)[0]["content"] for wording in RATE]
    systems.append(messages("summarise", "")[0]["content"])
    return [*systems, *PHRASES.values(), "First , then , then ", *_WHO, *_CALM, *_HARM]


def _caption(rng: np.random.Generator, abnormal: bool) -> str:
    if rng.random() < 0.2:
        return f"{rng.choice(_WHO)} {rng.choice(_HARM if abnormal else _CALM)}"
    return PHRASES[str(rng.choice([k for k in PHRASES if (k in ANOMALY_KINDS) == abnormal]))]


def _held(calm: str, harm: str) -> bool:
    """Whether the pair is held back from all lessons: about one in eight."""
    return sum(calm.encode()) % 8 == sum(harm.encode()) % 8
