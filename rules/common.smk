# What the rules share: the checked study, and the functions that pick inputs and params from it.

import json
import os
import time
from pathlib import Path
from shlex import join

from snakemake.exceptions import WorkflowError
from snakemake.settings.types import DeploymentMethod

from hhvad import checkpoint, masks
from hhvad.artifacts.hdf5 import SCHEMA_VERSIONS
from hhvad.artifacts.probe import PROBE_VERSION, has_damage
from hhvad.artifacts.texts import SCHEMA_VERSIONS as TEXT_VERSIONS
from hhvad.clock import start_in_name
from hhvad.errors import HHVADError
from hhvad.files import digest
from hhvad.methods.headhunt.settings import HeadHunt
from hhvad.methods.hiprobe.settings import HiProbe
from hhvad.methods.lavad.prompts import CHOICES
from hhvad.methods.lavad.settings import Lavad
from hhvad.methods.motion.settings import Motion
from hhvad.methods.probe.settings import Probe
from hhvad.methods.scorer.settings import Scorer
from hhvad.methods.vera.settings import Vera
from hhvad.methods.zero_shot.settings import ZeroShot
from hhvad.sheet import format_events
from hhvad.study import Study
from hhvad.viewer.page import VIEWER_VERSION
from hhvad.workflow import (
    check_commands,
    file_mb,
    hhvad_in_environments,
    one_of,
    plan_faster,
    readers_of_frames,
    remove_leftovers,
    restart_bundle_as_local_run,
    weights_mb,
)

STARTED = int(time.time())

try:
    STUDY = Study.load(config, workflow.configfiles)
    STAMPS = {
        name: checkpoint.stamp(model.path) for name, model in STUDY.models.items()
    }
except HHVADError as error:
    raise WorkflowError(str(error)) from None

# Of a module, Snakemake takes the folders from the config alone, and not from `pathvars` below.
if not workflow.modifier.is_main_snakefile() and not STUDY.folders.keys() <= set(
    config.get("pathvars", {})
):
    wanted = ", ".join(f"{name}: {path}" for name, path in STUDY.folders.items())
    raise WorkflowError(
        "hhvad is used as a module, whose folders the config must name: pathvars: "
        f"{{{wanted}}}"
    )

SAMPLING = STUDY.config.sampling
COMPUTE = STUDY.config.compute
FOLDERS = STUDY.folders
LOGS = FOLDERS["logs"]
WEIGHTS_MB = {name: weights_mb(model.path) for name, model in STUDY.models.items()}
HEADHUNTS = STUDY.of(HeadHunt)
CALIBRATED = [
    name for name in STUDY.methods if name not in [*STUDY.frozen, *STUDY.budgeted]
]
CALIBRATION, VALIDATION, TEST = map(STUDY.split, ("calibration", "validation", "test"))
REFERENCE = STUDY.split("reference")
SHEET = STUDY.config.videos
COMPARED = bool(STUDY.annotated) and len(STUDY.methods) > 1


# --- videos ---------------------------------------------------------------------------------------


def video_file(wildcards):
    """The video as an input, so that a replaced file is noticed.

    A missing file is no input: it fails in its own job, by name, and not the whole run.
    """
    video = STUDY.videos[wildcards.video]
    return video.path if STUDY.is_demo(video) or Path(video.path).is_file() else []


def video_path(wildcards):
    """The path as the sheet gives it."""
    return STUDY.videos[wildcards.video].path


def video_bytes(wildcards):
    """The size of the file: with an older date, it alone tells that a video was replaced."""
    video = STUDY.videos[wildcards.video]
    if STUDY.is_demo(video) or not Path(video.path).is_file():
        return None
    return os.stat(video.path).st_size


def probe_version(wildcards):
    """What makes another probe of the same file.

    Only a probe that lists damage depends on `on_damage`; one that failed is made again anyway.
    """
    probe = STUDY.results / f"probe/{wildcards.video}.json"
    refused = SAMPLING.on_damage == "fail" and has_damage(probe)
    return f"{PROBE_VERSION}, whole" if refused else PROBE_VERSION


def start_of(name):
    """When a video's recording started, where its file name says so; else None."""
    pattern = STUDY.config.start_pattern
    return (
        start_in_name(Path(STUDY.videos[name].path).name, pattern) if pattern else None
    )


def started_flag(wildcards):
    """That time as a flag, for those that have one."""
    started = start_of(wildcards.video)
    return f"--started {started}" if started else ""


def results_folder(wildcards):
    """The folder behind <results>, for commands that read one file of it per row of the sheet."""
    return FOLDERS["results"]


def probes_of(names):
    """Probes of these videos."""
    return [f"<results>/probe/{name}.json" for name in names]


def probes_of_annotated(wildcards):
    """Probes of the videos of a split that have a frame annotation."""
    names = STUDY.split(wildcards.split)
    return probes_of(name for name in names if STUDY.videos[name].events is not None)


def annotations_of_split(wildcards):
    """A digest of a split's annotations."""
    return STUDY.annotation(STUDY.split(wildcards.split))


# --- frames and models ----------------------------------------------------------------------------


def height_and_width(wildcards):
    """Height and width that a file's name gives, and how frames are fitted to them."""
    size, _, fit = wildcards.size.partition("-")
    return [*size.split("x"), *(["--fit", fit] if fit else [])]


def frames_file(wildcards):
    """The frames that a capture looks at: on scratch where no other capture will need them.

    Each (model, prompt) has scratch files of its own: if readers shared them, a new reader would
    have them sampled again, and Snakemake would run all readers again.
    """
    size = STUDY.size_name(wildcards.model)
    if wildcards.view != "segments" or is_calibration_sample(wildcards):
        return f"<results>/frames/{wildcards.view}/{size}/{wildcards.video}.h5"
    reader = f"{wildcards.model}.{wildcards.prompt}"
    return f"<scratch>/segments/{reader}/{size}/{wildcards.video}.h5"


def grid_file(wildcards, reader):
    """One frame every `stride` frames, on scratch, for one reader: see frames_file."""
    size = STUDY.fitted_size(wildcards.model)
    return f"<scratch>/grid/{wildcards.stride}/{reader}/{size}/{wildcards.video}.h5"


def is_calibration_sample(wildcards):
    """Whether a capture is one of those that calibrate heads, under every prompt."""
    split = STUDY.videos[wildcards.video].split
    return split == "calibration" and STUDY.calibrates(wildcards.model, wildcards.view)


def model_of(wildcards):
    """What makes other numbers of the same frames and prompt."""
    return STUDY.models[wildcards.model]


def prompt_of(wildcards):
    """The wording of a prompt; what a capture depends on, whatever the other prompts say."""
    return STUDY.prompts[wildcards.model, wildcards.prompt]


def caption_of(wildcards):
    """What a captioner is shown and asked."""
    return STUDY.captions[wildcards.model, wildcards.prompt]


def siblings(wildcards):
    """Calibration videos are asked every prompt: the model may answer the others in passing.

    The flag names the file, not the wordings, so that no capture depends on another's prompt.
    """
    if not is_calibration_sample(wildcards):
        return ""
    files = {
        STUDY.methods[name].prompts: None
        for name in STUDY.wordings
        if STUDY.methods[name].model == wildcards.model
        and wildcards.prompt in STUDY.wordings[name].prompts
    }
    return join(["--siblings", next(iter(files))]) if files else ""


def wanted_heads(wildcards):
    """Which heads a capture keeps: all, or those that frozen detectors read."""
    wanted = STUDY.wanted_heads(wildcards.model, wildcards.prompt)
    if wanted is None or wildcards.view != "segments":
        return "all"
    return " ".join(f"{head.layer},{head.head}" for head in wanted)


def frames_shape(wildcards):
    """What a capture depends on of the frames, which are temporary."""
    size = STUDY.size(wildcards.model)
    mask = STUDY.mask(wildcards.video)
    return [SAMPLING.frames_per_segment, SAMPLING.segment_length, *size, *mask]


def mask_flag(wildcards):
    """What of a video's picture is hidden, as a flag; readers of temporary frames depend on it."""
    mask = STUDY.mask(wildcards.video)
    return join(["--mask", masks.to_text(mask)]) if mask else ""


def commit_file(model):
    """Where the commit of a model's hub id is kept for all jobs of the study."""
    return f"{FOLDERS['results']}/models/{model}.commit"


# Snakemake keeps no record of params that follow from outputs: these make nothing stale.
def time_limit(wildcards, output):
    """Seconds after which a decoder that hangs is ended."""
    return SAMPLING.timeout


def on_damage(wildcards, output):
    """What becomes of a damaged video; probe_version says what that makes stale."""
    return SAMPLING.on_damage


def kept_all(wildcards, output):
    """All frames are kept: of a whole video there are few."""
    return ""


def kept_on_scratch(wildcards, output):
    """How many of a video's frames are kept, as a flag; readers of the file decode the rest."""
    return f"--keep-mb {SAMPLING.scratch_mb}"


def rest_flags(wildcards, output):
    """Where a reader of frames finds what their file leaves out, as flags."""
    limit = ["--decode-timeout", SAMPLING.timeout, "--decode-threads", SAMPLING.threads]
    return join(map(str, ["--path", video_path(wildcards), *limit]))


def batch_size_of_captures(wildcards, output):
    """Segments per forward pass of a capture, or auto."""
    return COMPUTE.batch_size


def unit_vectors(wildcards, output):
    """Which vectors of frames an encoder gives; not recorded, as there is no other choice."""
    return "unit"


def compute_flags(wildcards, output):
    """How models run, as flags."""
    return flags_of_compute(wildcards.get("model"))


def flags_of_compute(model):
    """How a model, or none that is named, runs, as flags."""
    resident = "yes" if COMPUTE.resident else "no"
    file = ["--commit-file", commit_file(model)] if model else []
    return (
        f"{join(file)} --device {COMPUTE.device}"
        f" --resident {resident} --idle-timeout {COMPUTE.idle_timeout}"
    )


# --- scores, events, figures ----------------------------------------------------------------------


def scores_of(split):
    """Segment scores of a split's videos."""

    def files(wildcards):
        return [
            f"<results>/scores/{wildcards.method}/{name}.tsv"
            for name in STUDY.split(split)
        ]

    return files


def locator_of(wildcards):
    """The settings of a method's locator."""
    return STUDY.methods[wildcards.method].locator


def camera_of(wildcards):
    """The camera of a video."""
    return STUDY.videos[wildcards.video].camera


def ignored_hours(wildcards):
    """The hours in which events of a video's camera are ignored."""
    return locator_of(wildcards).ignore_hours.get(camera_of(wildcards), [])


def inputs_of_suppression(wildcards):
    """What marks teach, a video's head features and whose experts count; nothing without marks."""
    if wildcards.method not in STUDY.marks:
        return []
    marks = f"<results>/marks/{wildcards.method}.h5"
    return [marks, online_features(wildcards), scorer_of(wildcards)]


def suppress_flags(wildcards, input):
    """The same as flags."""
    if not input.suppress:
        return ""
    marks, features, scorer = input.suppress
    return join(["--marks", marks, "--features", features, "--scorer", scorer])


def similarity_flag(wildcards):
    """How alike events must be; a flag apart, as Snakemake records no param that takes inputs."""
    suppress = locator_of(wildcards).suppress
    return f"--similarity {suppress.similarity}" if suppress else ""


def localization_of_labelled_tests(wildcards):
    """Smoothed scores of the test videos whose label is known."""
    return [
        f"<results>/localization/{wildcards.method}/{name}.tsv"
        for name in STUDY.labelled
    ]


def video_annotation(wildcards):
    """The annotated events of a video as a flag of plot-video; none where it is not annotated."""
    events = STUDY.videos[wildcards.video].events
    text = format_events(events) or "none"
    return "" if events is None else join(["--annotated", text])


def results_of_methods(wildcards):
    """What each method ends in: metrics where there are annotations, figures, its detector."""
    files = []
    for name in STUDY.methods:
        if STUDY.annotated:
            files += [f"metrics/{name}.json", f"figures/{name}/roc.svg"]
        if name in STUDY.wordings:
            files += [f"figures/{name}/{figure}.svg" for figure in ("rss", "features")]
            files += [f"detector/{name}.h5"]
    if COMPARED:
        files += ["comparison/methods.json", "comparison/costs.json"]
    return [f"<results>/{file}" for file in files]


def masks_flag(wildcards):
    """The file of what is hidden, as a flag."""
    return join(["--masks", STUDY.config.masks]) if STUDY.config.masks else ""


def masks_of_tests(wildcards):
    """What is hidden in the test videos, so that the page shows it anew."""
    return {STUDY.videos[name].camera: STUDY.mask(name) for name in TEST}


def metrics_of_methods(wildcards):
    """The metrics of every method."""
    return [f"<results>/metrics/{name}.json" for name in STUDY.methods]


def costs_of_methods(wildcards):
    """Which jobs each method consists of and what it needs, as JSON."""
    return json.dumps(STUDY.costed)


def benchmarks_folder(wildcards):
    """The folder behind <benchmarks>."""
    return FOLDERS["benchmarks"].replace("<logs>", LOGS)


def results_of_viewer(wildcards):
    """What the viewer shows. Metrics stand for the labelled videos, whose events they are made of:
    Snakemake's time grows with the square of a job's inputs.
    """
    judged = set(STUDY.labelled if STUDY.annotated else [])
    files = [f"thumbnails/{name}.h5" for name in TEST]
    if STUDY.described is not None:
        files += [f"descriptions/{STUDY.described}/{name}.json" for name in TEST]
    for method in STUDY.methods:
        files += [f"metrics/{method}.json"] if judged else []
        files += [f"events/{method}/{name}.json" for name in TEST if name not in judged]
        if method in STUDY.wordings:
            files += [f"experts/{method}.tsv", f"figures/{method}/rss.svg"]
    files += ["comparison/methods.json", "comparison/costs.json"] if COMPARED else []
    return [f"<results>/{file}" for file in files]


def descriptions_of_test_videos(wildcards):
    """What is said of each test video, where events are described."""
    if STUDY.described is None:
        return []
    return [f"<results>/descriptions/{STUDY.described}/{name}.json" for name in TEST]


def results_of_hivau(wildcards):
    """How near a model's answers to HIVAU-70k's questions are, where they are asked."""
    hivau = STUDY.config.hivau
    return [f"<results>/hivau/{hivau.model}.json"] if hivau and TEST else []


def figures_of_test_videos(wildcards):
    """A figure of each test video: it is drawn from the video's scores and events."""
    return [
        f"<results>/figures/{method}/videos/{name}.png"
        for method in STUDY.methods
        for name in TEST
    ]


def deleted_results(wildcards):
    """Deleted score and event files that Snakemake would not rebuild because their figure exists.

    Not simply all of them: Snakemake's time grows with the square of a job's inputs.
    """
    files = [
        f"{kind}/{method}/{name}.tsv"
        for method in STUDY.methods
        for name in TEST
        if (STUDY.results / f"figures/{method}/videos/{name}.png").exists()
        for kind in ("scores", "events")
    ]
    return [
        f"<results>/{file}" for file in files if not (STUDY.results / file).exists()
    ]


# --- what jobs ask for ----------------------------------------------------------------------------


def stride_of(wildcards):
    """Frames between two of the grid: of the file's name, or of the method."""
    if "stride" in wildcards.keys():
        return int(wildcards.stride)
    return STUDY.segment_length(wildcards.method)


def segments_at_most(wildcards):
    """How many segments a video may have: a MiB of video rarely holds more than four."""
    return 1 + 4 * file_mb(video_path(wildcards))


def grid_at_most(wildcards):
    """How many frames of a grid a video may have, as segments_at_most."""
    return 1 + int(4 * 48 * file_mb(video_path(wildcards)) / stride_of(wildcards))


def video_mb(wildcards):
    """MiB that F frames of a video take."""
    return frames_mb(wildcards, SAMPLING.frames_per_segment)


def segments_mb(wildcards):
    """MiB that the frames of all segments take on scratch."""
    frames = SAMPLING.frames_per_segment * segments_at_most(wildcards)
    return min(frames_mb(wildcards, frames), 100 + SAMPLING.scratch_mb)


def grid_mb(wildcards):
    """MiB that the frames of a grid take on scratch."""
    return min(frames_mb(wildcards, grid_at_most(wildcards)), 100 + SAMPLING.scratch_mb)


def frames_mb(wildcards, frames):
    """MiB of so many frames, and some for the file around them."""
    height, width = map(int, height_and_width(wildcards)[:2])
    return 100 + int(frames * height * width * 3 / 2**20)


def sample_minutes(wildcards, attempt):
    """Minutes that decoding a video may take, at 2 MiB of file a second."""
    return attempt * (5 + int(file_mb(video_path(wildcards)) / 120))


def capture_minutes(wildcards, attempt):
    """Minutes that one capture may take, three of them for a model that is loaded first."""
    segments = 1 if wildcards.view != "segments" else segments_at_most(wildcards)
    return attempt * (3 + int(segments * COMPUTE.segment_seconds / 60))


def text_minutes(wildcards, attempt):
    """Minutes for captions, answers or vectors, where a frame of the grid is like a segment."""
    seconds = grid_at_most(wildcards) * COMPUTE.segment_seconds
    return attempt * (3 + int(seconds / 60))


def capture_mb(wildcards, attempt):
    """Memory of the host that a capture may take: the weights pass through it."""
    return attempt * (3000 + int(1.5 * WEIGHTS_MB[wildcards.model]))


plan_faster(globals())
