"""The detector file as an object: what it reads, says, scores and refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hhvad.artifacts import hdf5
from hhvad.artifacts.hdf5 import Artifact
from hhvad.errors import ArtifactError
from hhvad.localization.budget import Budget, Footage, calibrate
from hhvad.localization.locator import Locator
from hhvad.methods.headhunt.detector import Detector, require_same_online, summary
from hhvad.methods.headhunt.scorer import Scorer
from hhvad.records import HeadId

EXPERTS = np.array([[1, 2], [0, 3]])
LOCATOR = Locator(0.5, 0.4, calibrated=True, f1=0.9, how="by hand")
FOOTAGE = Footage(np.linspace(0, 0.5, 100), np.full(100, 3600.0))
THRESHOLDS = calibrate({"door": [FOOTAGE]}, Budget(2.0), fixed=0.5)
SAMPLING = {"frames_per_segment": 8, "segment_length": 48, "size": [56, 56]}
PROVENANCE = {
    "model": "tiny", "revision": "v1", "commit": None, "fingerprint": "f", "dtype": "float32",
    "prompt": "direct", "prompt_text": "Abnormal?", "system": "Be brief.", "sampling": SAMPLING,
    "kind": "logistic", "locator": LOCATOR.to_json(),
}  # fmt: skip


@pytest.fixture
def fitted():
    random = np.random.default_rng(0)
    labels = np.arange(20) % 2
    features = random.normal(size=(20, 2, 4)) + 2 * labels[:, None, None]
    return Scorer().fit(features, labels), features


def write(path, fitted, **changes):
    provenance = {key: value for key, value in (PROVENANCE | changes).items() if value != "absent"}
    hdf5.write(path, "detector", {**fitted[0].arrays(), "experts": EXPERTS}, provenance)
    return path


def test_a_detector_judges_as_its_parts_do(fitted, tmp_path):
    found = Detector.read(write(tmp_path / "d.h5", fitted))
    assert (found.model, found.prompt, found.prompt_text) == ("tiny", "direct", "Abnormal?")
    assert (found.system, found.sampling, found.locator) == ("Be brief.", SAMPLING, LOCATOR)
    assert found.experts == (HeadId(1, 2), HeadId(0, 3))
    scores = found.score(fitted[1])
    assert scores.tolist() == fitted[0].predict_proba(fitted[1]).tolist()
    segments = np.stack([np.arange(20) * 48, np.arange(1, 21) * 48], axis=1)
    assert found.localize(scores, segments) == LOCATOR.events(scores, segments)
    assert found.localize(scores, segments)


def test_a_camera_without_a_threshold_of_its_own_is_said(fitted, tmp_path):
    locator = replace(LOCATOR, budget=THRESHOLDS)
    scores, segments = np.array([0.1, 0.9]), np.array([[0, 48], [48, 96]])
    for made in (locator, LOCATOR):
        found = Detector.read(write(tmp_path / "d.h5", fitted, locator=made.to_json()))
        found.localize(scores, segments)
        found.localize(scores, segments, camera="door")  # warnings are errors here
    found = Detector.read(write(tmp_path / "d.h5", fitted, locator=locator.to_json()))
    with pytest.warns(UserWarning, match=r"camera gate has no reference footage"):
        found.localize(scores, segments, camera="gate")


@pytest.mark.parametrize("key", ["model", "prompt", "prompt_text", "sampling", "kind", "locator"])
def test_what_a_detector_needs(fitted, tmp_path, key):
    with pytest.raises(ArtifactError, match=f"lacks '{key}'"):
        Detector.read(write(tmp_path / "d.h5", fitted, **{key: "absent"}))


def test_older_detectors_have_no_system_message(fitted, tmp_path):
    assert Detector.read(write(tmp_path / "d.h5", fitted, system="absent")).system == ""


def test_a_locator_of_another_hhvad(fitted, tmp_path):
    path = write(tmp_path / "d.h5", fitted, locator={**LOCATOR.to_json(), "gamma": 1})
    with pytest.raises(ArtifactError, match=r"another hhvad.*gamma"):
        Detector.read(path)


@pytest.mark.parametrize(
    ("locator", "shortest", "calibrated"),
    [
        (LOCATOR, "1 segments", "on validation events"),
        (Locator(1.5, 0.65), "3 segments", "no: fixed values"),
        (Locator(1.5, 1.0), "none: no event can be found", "no: fixed values"),
    ],
)
def test_summary(fitted, tmp_path, locator, shortest, calibrated):
    rows = dict(summary(write(tmp_path / "d.h5", fitted, locator=locator.to_json())))
    assert rows.pop("hhvad")
    assert rows == {
        "model": "tiny",
        "revision": "v1",
        "fingerprint": "f",
        "prompt": "direct: Abnormal?",
        "experts": " ".join(str(HeadId(*head)) for head in EXPERTS.tolist()),
        "scorer": "logistic",
        "locator": f"sigma {locator.sigma} segments, tau {locator.tau}",
        "shortest event": shortest,
        "calibrated": calibrated,
        "sampling": "frames_per_segment 8, segment_length 48, size [56, 56]",
    }


def test_summary_of_a_budget(fitted, tmp_path):
    locator = replace(LOCATOR, how="from a budget", budget=THRESHOLDS)
    rows = summary(write(tmp_path / "d.h5", fitted, locator=locator.to_json()))
    assert ("calibrated", "from a budget") in rows
    cameras = [text.partition(":")[0] for name, text in rows if name == "camera"]
    assert cameras == ["door", "any other camera"]


def artifact(path, **changes):
    return Artifact(path, "features", {}, PROVENANCE | changes)


@pytest.mark.parametrize(
    "key",
    ["model", "revision", "commit", "fingerprint", "dtype", "told", "prompt", "prompt_text",
     "system"],
)  # fmt: skip
def test_features_of_something_else_are_refused(tmp_path, key):
    ours, theirs = artifact(tmp_path / "d.h5"), artifact(tmp_path / "v.h5", **{key: "other"})
    with pytest.raises(ArtifactError, match=rf"v\.h5: {key} is 'other', but .*d\.h5"):
        require_same_online(ours, theirs)


@pytest.mark.parametrize("key", ["frames_per_segment", "size"])
def test_frames_of_another_kind_are_refused(tmp_path, key):
    theirs = artifact(tmp_path / "v.h5", sampling=SAMPLING | {key: 9})
    with pytest.raises(ArtifactError, match=rf"v\.h5: sampling {key} is 9, but .*d\.h5"):
        require_same_online(artifact(tmp_path / "d.h5"), theirs)


@pytest.mark.parametrize("changes", [{"segment_length": 16}, {"resize": "bicubic"}])
def test_the_length_of_a_segment_and_what_the_scorer_does_not_say_may_differ(tmp_path, changes):
    theirs = artifact(tmp_path / "v.h5", sampling=SAMPLING | changes)
    require_same_online(artifact(tmp_path / "d.h5"), theirs)
