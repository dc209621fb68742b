"""config/methods.yaml on few videos: a real run, and what each change makes stale, by dry runs."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import h5py
import pytest
import yaml
from study import ROOT, Study

from hhvad import study
from hhvad.artifacts import texts
from hhvad.files import read_json, read_tsv

Jobs = Counter[tuple[str, str]]
METHODS = {"headhunt", "lavad", "zero-shot", "probe", "vera", "hiprobe", "motion"}
AFTER_SCORES = {
    "calibrate_locator", "localize_events", "report_metrics", "plot_video", "plot_curves",
    "build_viewer", "compare_methods", "compare_costs", "all",
}  # fmt: skip
AFTER_RATINGS = {"refine_scores"} | AFTER_SCORES
AFTER_SUMMARIES = {"ask_ratings", "complete_texts", "read_ratings"} | AFTER_RATINGS
AFTER_CLEANING = {"ask_summaries", "read_summaries"} | AFTER_SUMMARIES


@pytest.fixture(scope="module")
def _ran(_drawn: Study, tmp_path_factory: pytest.TempPathFactory) -> Study:
    study = _drawn.copy(tmp_path_factory.mktemp("methods") / "study")
    shutil.copy(ROOT / "config/methods.yaml", study.folder / "config/config.yaml")
    shutil.copy(ROOT / "config/questions-vera-demo.yaml", study.folder / "config")
    study.change_config(study="demo", metrics={"bootstrap": 50})
    study.change_method(experts={"bootstrap": 10})
    done = study.snakemake(timeout=1800)
    assert done.returncode == 0, done.stdout
    return study


@pytest.fixture
def ran(_ran: Study, tmp_path: Path) -> Study:
    """A copy of the study, which has run to its end."""
    return _ran.copy(tmp_path / "study")


def rules(jobs: Jobs) -> set[str]:
    return {rule for rule, _ in jobs}


def values(jobs: Jobs, wildcard: str, rule: str | None = None) -> set[str]:
    """The values of a wildcard, in all jobs or those of one rule."""
    return {
        pair.removeprefix(f"{wildcard}=")
        for name, text in jobs
        if rule in (None, name)
        for pair in text.split(", ")
        if pair.startswith(f"{wildcard}=")
    }


def change_questions(study: Study, **wordings: str) -> None:
    path = study.folder / "config/prompts-lavad.yaml"
    data = yaml.safe_load(path.read_text())
    data["ratings"]["rate-any"] = wordings.pop("rating", data["ratings"]["rate-any"])
    path.write_text(yaml.safe_dump({**data, **wordings}))


def test_every_method_scores_and_is_judged(ran: Study):
    assert ran.planned() == {}
    results = ran.folder / "results/demo"
    for method in METHODS:
        assert read_json(results / f"metrics/{method}.json")["method"] == method
    (file, *_) = (results / "captions/demo/grid16/caption").glob("test-*.jsonl")
    rows = texts.read(file, "texts").rows
    assert [row["start"] for row in rows] == list(range(0, rows[-1]["end"], 16))
    assert not [row["text"] for row in rows if ":" in row["text"]]  # the verdict is dropped
    for path in (results / "ratings/lavad").glob("*.json"):
        counts = read_json(path)
        assert 0 <= counts["unreadable"] < counts["windows"]
    assert not list((results / "scratch").rglob("*.h5"))


def test_frames_that_do_not_stay_on_scratch_change_nothing(ran: Study):
    """A limit that the longer videos pass: the rest of their frames is decoded again, the same."""
    ran.change_config(sampling={**ran.config["sampling"], "scratch_mb": 1})
    assert ran.planned() == {}
    results = ran.folder / "results/demo"
    (video, *_) = sorted(path.stem for path in (results / "heads/demo/segments/direct").glob("t*"))
    made = [
        f"results/demo/{name}"
        for name in (
            f"heads/demo/segments/direct/{video}.h5",
            f"logprobs/demo/probe/{video}.h5",
            f"captions/demo/grid16/caption/{video}.jsonl",
            f"vectors/demo-clip/grid16/{video}.h5",
            f"motion/{video}.tsv",
        )
    ]
    before = [(ran.folder / name).read_bytes() for name in made]
    rules = ("capture_heads", "answer_questions", "caption_frames", "embed_frames")
    done = ran.snakemake(*made, "--forcerun", *rules, "measure_motion", "--notemp")
    assert done.returncode == 0, done.stdout
    assert [(ran.folder / name).read_bytes() for name in made] == before
    kept = []
    for path in (results / "scratch/segments").rglob(f"{video}.h5"):
        with h5py.File(path) as file:
            kept.append((len(file["frames"]), len(file["segments"])))
    assert len(kept) == 3
    assert all(some == 2**20 // (8 * 56 * 56 * 3) < all_ for some, all_ in kept)


def test_the_costs_are_of_every_job_that_makes_scores(ran: Study, monkeypatch: pytest.MonkeyPatch):
    results, logs = ran.folder / "results/demo", ran.folder / "logs/demo/benchmarks"
    costs = {row["method"]: row for row in read_json(results / "comparison/costs.json")["methods"]}
    assert set(costs) == METHODS
    assert not any(row["unmeasured"] for row in costs.values())
    assert costs["motion"]["model_calls"] == 0 < costs["headhunt"]["model_calls"]
    answers = (results / "answers/demo-llm/lavad").rglob("*.jsonl")
    captions = (results / "captions/demo").rglob("*.jsonl")
    rows = [row for file in (*answers, *captions) for row in texts.read(file).rows]
    assert costs["lavad"]["tokens"] == sum(row["tokens"] for row in rows)
    files = {path.relative_to(logs).with_suffix("").as_posix() for path in logs.rglob("*.tsv")}
    monkeypatch.chdir(ran.folder)
    costed = study.Study.read("config/config.yaml").costed
    jobs = {job for one in costed.values() for job in one["jobs"]}
    rest = {file for file in files if file not in jobs and file.rpartition("/")[0] not in jobs}
    assert {file.split("/")[0] for file in rest} == {
        "build_viewer", "check_annotations", "compare_costs", "compare_methods", "make_demo_video",
        "plot_curves", "plot_features", "plot_heads", "plot_video", "report_metrics",
        "sample_thumbnails",
    }  # fmt: skip


def test_a_new_rating(ran: Study):
    change_questions(ran, rating="How bad is it, from 0 to 1?")
    jobs = ran.planned()
    assert rules(jobs) == AFTER_SUMMARIES
    assert values(jobs, "question") == {"rating"}
    assert values(jobs, "method") == {"lavad"}


def test_a_new_wording_for_summaries(ran: Study):
    change_questions(ran, summarise="What happens, in one sentence?")
    jobs = ran.planned()
    assert rules(jobs) == AFTER_CLEANING
    assert values(jobs, "method") == {"lavad"}


@pytest.mark.parametrize("change", [{"temperature": 1.0}, {"share": 0.5}, {"among": "none"}])
def test_other_neighbours(ran: Study, change: dict):
    ran.change_method("lavad", neighbours=change)
    assert rules(ran.planned()) == AFTER_RATINGS


def test_neighbours_among_summaries_embed_them(ran: Study):
    ran.change_method("lavad", neighbours={"among": "summaries"})
    jobs = ran.planned()
    assert rules(jobs) == AFTER_RATINGS | {"embed_texts"}
    assert {name.split("/")[0] for name in values(jobs, "texts")} == {"summaries"}


def test_other_windows(ran: Study):
    ran.change_method("lavad", window={"seconds": 6.0})
    assert rules(ran.planned()) == AFTER_CLEANING | {"clean_captions"}


def test_a_new_wording_for_captions(ran: Study):
    ran.change_method("lavad", caption={"prompt": "Tell me what you see."})
    jobs = ran.planned()
    captioning = {"sample_grid", "caption_frames", "embed_texts", "clean_captions"}
    assert rules(jobs) == captioning | AFTER_CLEANING
    assert values(jobs, "reader") == {"captions.demo.caption"}  # no frame is embedded again
    assert {name.split("/")[0] for name in values(jobs, "texts")} == {"captions"}
    assert values(jobs, "method") == {"lavad"}


def test_heads_are_nothing_to_the_others(ran: Study):
    ran.change_method(experts={"count": 3})
    assert values(ran.planned(), "method") == {"headhunt"}


def test_another_phrase(ran: Study):
    phrases = ran.config["methods"]["zero-shot"]["phrases"]
    ran.change_method("zero-shot", phrases={"normal": [*phrases["normal"], "a dog runs"]})
    jobs = ran.planned()
    assert rules(jobs) == {"write_phrases", "embed_texts", "score_zero_shot"} | AFTER_SCORES
    assert values(jobs, "method") == {"zero-shot"}


def test_another_question(ran: Study):
    ran.change_method("probe", question="Is somebody in danger?")
    jobs = ran.planned()
    assert rules(jobs) == {"sample_segments", "answer_questions", "score_probe"} | AFTER_SCORES
    assert values(jobs, "reader") == {"probe.probe"}
    ran.change_method("probe", question="Is anything abnormal happening?", sigma=10)
    jobs = ran.planned()
    assert rules(jobs) == {"score_probe"} | AFTER_SCORES
    assert values(jobs, "method") == {"probe"}


def test_another_question_or_weight_of_vera(ran: Study):
    path = ran.folder / "config/questions-vera-demo.yaml"
    text = path.read_text()
    path.write_text(text.replace("abnormal happening", "wrong"))
    jobs = ran.planned()
    assert rules(jobs) == {"sample_around", "answer_guided", "score_vera"} | AFTER_SCORES
    path.write_text(text)
    assert ran.planned() == {}
    ran.change_method("vera", position_weight=True)
    jobs = ran.planned()
    assert rules(jobs) == {"score_vera"} | AFTER_SCORES
    assert values(jobs, "method") == {"vera"}
    ran.change_method("vera", position_weight=False, learn={"steps": 2})
    jobs = ran.planned()
    learnt = {"sample_frames", "learn_questions", "sample_around", "answer_guided", "score_vera"}
    assert rules(jobs) == learnt | AFTER_SCORES


def test_questions_are_learnt_in_a_run(ran: Study):
    ran.change_method("vera", learn={"steps": 1, "max_tokens": 16})
    done = ran.snakemake("results/demo/metrics/vera.json")
    assert done.returncode == 0, done.stdout
    learnt = yaml.safe_load((ran.folder / "results/demo/questions/vera.yaml").read_text())
    assert learnt["answers"] == ["no", "yes"]
    assert len(read_tsv(ran.folder / "results/demo/questions/vera.tsv")) == 2


def test_another_question_or_scorer_of_hiprobe(ran: Study):
    ran.change_method("hiprobe", question="Is all well?")
    jobs = ran.planned()
    states = {"sample_segments", "capture_states", "score_layers", "fit_layer", "score_layer"}
    assert rules(jobs) == states | AFTER_SCORES
    assert values(jobs, "reader") == {"states.hiprobe"}
    question = "Is anything abnormal happening?"
    ran.change_method("hiprobe", question=question, scorer={"kind": "svm"})
    jobs = ran.planned()
    assert rules(jobs) == {"fit_layer", "score_layer"} | AFTER_SCORES


def test_another_lavad_shares_captions_and_vectors(ran: Study):
    another = {**ran.config["methods"]["lavad"], "rating": "rate-ucf"}
    ran.change_config(methods={**ran.config["methods"], "other": another})
    jobs = ran.planned()
    assert rules(jobs) == AFTER_CLEANING | {"clean_captions"}
    assert values(jobs, "method") == {"other"}


def test_ablations_are_a_target_of_their_own(ran: Study):
    jobs = ran.planned("results/demo/ablations/lavad.tsv")
    light = {"raw_captions", "list_captions", "score_ablations", "ablate_lavad"}
    light |= {f"{verb}_raw_{what}" for verb in ("ask", "read") for what in ("summaries", "ratings")}
    light |= {"ask_caption_ratings", "read_caption_ratings"}
    assert rules(jobs) == light | {"complete_texts", "embed_texts"}  # no caption is written again
    assert values(jobs, "question") == {"raw-summary", "raw-rating", "caption-rating"}


def test_sampled_answers_ask_again_and_nothing_else(ran: Study):
    ran.change_method("lavad", answers={"temperature": 0.6})
    assert rules(ran.planned()) == AFTER_CLEANING


def test_an_expected_number_weighs_the_ratings_again(ran: Study):
    ran.change_method("lavad", answers={"number": "expected"})
    jobs = ran.planned()
    assert rules(jobs) == AFTER_SUMMARIES - {"ask_ratings"}
    assert values(jobs, "question") == {"rating"}


def test_an_encoder_that_sees_the_middle_needs_frames_and_vectors_again(ran: Study):
    ran.change_config(
        models={"demo-clip": {"path": "demo-clip", "dtype": "float32", "fit": "crop"}}
    )
    jobs = ran.planned()
    embedding = {"sample_grid", "embed_frames", "clean_captions", "score_zero_shot", "score_vera"}
    assert rules(jobs) == AFTER_CLEANING | embedding
    assert values(jobs, "size", "sample_grid") == {"56x56-crop"}


def test_exact_windows_need_their_own_vectors(ran: Study):
    ran.change_method("lavad", window={"frames": "exact"})
    jobs = ran.planned()
    assert rules(jobs) == AFTER_CLEANING | {"clean_captions", "sample_windows", "embed_windows"}
    ran.change_method("lavad", window={"frames": "grid", "vector": "ends"})
    assert rules(ran.planned()) == AFTER_RATINGS


def test_other_compute_makes_nothing_stale(ran: Study):
    ran.change_config(compute={"batch_size": 2, "resident": False})
    assert ran.planned() == {}
