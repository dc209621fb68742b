# What the rules share: the checked config, the sheet, and the few functions that pick from them.
# This is the only file with functions.

import gc
import os
import sys
import time
from inspect import signature
from pathlib import Path
from types import FunctionType

from snakemake.exceptions import WorkflowError

from hhvad import checkpoint
from hhvad import config as settings
from hhvad.methods.headhunt import detector
from hhvad import sheet
from hhvad.artifacts.hdf5 import SCHEMA_VERSIONS
from hhvad.errors import HHVADError
from hhvad.files import digest, sweep_folder

STARTED = int(time.time())

# Snakemake makes millions of objects that all stay: looking for garbage every 700 of them takes an
# eighth of the time that it plans.
gc.set_threshold(100_000)


def load_study(config):
    """The config with its defaults, the prompts, and the videos by id; every mistake by its name."""
    try:
        schema = settings.read_yaml(
            workflow.source_path("../workflow/schemas/config.schema.yaml")
        )
        config = settings.validate(config, schema, "config")
        schema = settings.read_yaml(
            workflow.source_path("../workflow/schemas/prompts.schema.yaml")
        )
        prompts = settings.read_yaml(config["prompts"])
        prompts = settings.validate(prompts, schema, config["prompts"])
        videos = sheet.read(config["videos"])
        for note in settings.check(config, prompts, videos):
            logger.info(f"Note: {note}.")
        stamp = checkpoint.stamp(config["model"]["path"])
        frozen = detector.read(config["detector"]) if config["detector"] else None
        if frozen:
            detector.require_config(frozen, config)
            prompts = {
                "online": frozen.prompt,
                "prompts": {frozen.prompt: frozen.prompt_text},
            }
    except HHVADError as error:
        raise WorkflowError(str(error)) from None
    return config, prompts, {video.video: video for video in videos}, stamp, frozen


def file_mb(path):
    """Size of a file in MiB; 0 where it is not there yet."""
    try:
        return os.stat(path).st_size / 2**20
    except OSError:
        return 0


def weights_mb(model):
    """MiB of a checkpoint folder's weights; for a hub id those of eight billion numbers."""
    files = list(Path(checkpoint.resolve(model)).glob("*.safetensors"))
    return sum(file_mb(file) for file in files) if files else 16000


def model_flags(model):
    """What makes other numbers of the same checkpoint, as flags."""
    revision = f" --revision {model['revision']}" if model["revision"] else ""
    return f"--dtype {model['dtype']}{revision}"


def sampling_flags(sampling):
    """Which frames the model sees, as flags."""
    height, width = sampling["size"]
    return (
        f"--frames {sampling['frames']} --segment-length {sampling['segment_length']}"
        f" --size {height} {width}"
    )


config, PROMPTS, VIDEOS, CHECKPOINT, FROZEN = load_study(config)

LOGS = config["pathvars"]["logs"]
MODEL = config["model"]["name"]
ONLINE = PROMPTS["online"]
WEIGHTS_MB = weights_mb(config["model"]["path"])
MODEL_FLAGS = model_flags(config["model"])
SAMPLING = sampling_flags(config["sampling"])
DETECTOR = config["detector"] or "<results>/detector/{model}.h5"
SCORER = config["detector"] or "<results>/scorer/{model}.h5"
CALIBRATION = [v.video for v in VIDEOS.values() if v.split == "calibration"]
VALIDATION = [v.video for v in VIDEOS.values() if v.split == "validation"]
TEST = [v.video for v in VIDEOS.values() if v.split == "test"]
ANNOTATED = [name for name in TEST if VIDEOS[name].events is not None]
CALIBRATION_VIEW = config["calibration"]["view"]
CALIBRATION_LABELS = [VIDEOS[name].label for name in CALIBRATION]
VALIDATION_EVENTS = [
    sheet.format_events(VIDEOS[name].events) or "none" for name in VALIDATION
]


def is_demo(video):
    """Whether a video is one that rule make_demo_video draws."""
    return video.path == f"{config['pathvars']['resources']}/demo/{video.video}.mp4"


def video_file(wildcards):
    """The video as an input, so that a replaced file is noticed.

    A missing file is no input: it fails in its own job, by name, and not the whole run.
    """
    video = VIDEOS[wildcards.video]
    return video.path if is_demo(video) or Path(video.path).is_file() else []


def video_path(wildcards):
    """The path as the sheet gives it."""
    return VIDEOS[wildcards.video].path


def frames_file(wildcards):
    """The frames that a capture looks at: on scratch where no other capture will need them."""
    if wildcards.view == "video" or is_calibration_sample(wildcards):
        return "<results>/frames/{view}/{video}.h5"
    return "<scratch>/segments/{video}.h5"


def is_calibration_sample(wildcards):
    """Whether a capture is one of those that calibrate the heads, under every prompt."""
    split = VIDEOS[wildcards.video].split
    return wildcards.view == CALIBRATION_VIEW and split == "calibration"


def prompt_text(wildcards):
    """The wording of a prompt; what a capture depends on, whatever the other prompts say."""
    return PROMPTS["prompts"][wildcards.prompt]


def siblings(wildcards):
    """Calibration videos are asked every prompt: the model may answer the others in passing.

    The flag names the file, not the wordings, so that no capture depends on another's prompt.
    """
    return f"--siblings {config['prompts']}" if is_calibration_sample(wildcards) else ""


def wanted_heads(wildcards):
    """Which heads a capture keeps: all, or those that a frozen detector reads."""
    if config["capture"]["heads"] == "all" or wildcards.view == "video":
        return "all"
    return " ".join(f"{head.layer},{head.head}" for head in FROZEN.experts)


# Snakemake keeps no record of params that follow from outputs: these two make nothing stale.
def time_limit(wildcards, output):
    """Seconds after which a decoder that hangs is ended, as a flag."""
    return f"--timeout {config['sampling']['timeout']}"


def engine(wildcards, output):
    """How captures are computed, as flags."""
    flags = config["capture"]
    resident = "yes" if flags["resident"] else "no"
    return (
        f"--device {flags['device']} --batch-size {flags['batch_size']}"
        f" --resident {resident} --idle-timeout {flags['idle_timeout']}"
    )


def calibration_features(wildcards):
    """Head features of the calibration videos under one prompt; without one named, the online one."""
    prompt = getattr(wildcards, "prompt", ONLINE)
    return [
        f"<results>/heads/{wildcards.model}/{CALIBRATION_VIEW}/{prompt}/{name}.h5"
        for name in CALIBRATION
    ]


def segment_labels(wildcards):
    """Labels of the calibration videos' segments, where these are the samples."""
    whole = CALIBRATION_VIEW == "video"
    return [] if whole else "<results>/annotations/segments.tsv"


def sample_labels(wildcards, input):
    """The labels of the calibration samples, as a flag."""
    if input.segments:
        return f"--segment-labels '{input.segments}'"
    return f"--labels {' '.join(CALIBRATION_LABELS)}"


def calibration_probes(wildcards):
    """Probes of the calibration videos."""
    return [f"<results>/probe/{name}.json" for name in CALIBRATION]


def saliency_of_all_prompts(wildcards):
    """Saliency under each prompt, in the order of the prompts file."""
    return [
        f"<results>/saliency/{wildcards.model}/{prompt}.h5"
        for prompt in PROMPTS["prompts"]
    ]


def features_of_all_prompts(wildcards):
    """Head features of the calibration videos under every prompt, one prompt after the other."""
    return [
        f"<results>/heads/{wildcards.model}/{CALIBRATION_VIEW}/{prompt}/{name}.h5"
        for prompt in PROMPTS["prompts"]
        for name in CALIBRATION
    ]


def features_of_annotated_tests(wildcards):
    """Head features of the annotated test videos' segments under the online prompt."""
    return [
        f"<results>/heads/{wildcards.model}/segments/{ONLINE}/{name}.h5"
        for name in ANNOTATED
    ]


def probes_of_annotated_tests(wildcards):
    """Probes of the annotated test videos."""
    return [f"<results>/probe/{name}.json" for name in ANNOTATED]


def validation_scores(wildcards):
    """Segment scores of the validation videos."""
    return [f"<results>/scores/{wildcards.model}/{name}.tsv" for name in VALIDATION]


def validation_probes(wildcards):
    """Frame rates of the validation videos, for events that are given in seconds."""
    return [f"<results>/probe/{name}.json" for name in VALIDATION]


def localization_of_labelled_tests(wildcards):
    """Smoothed scores of the test videos whose label is known."""
    labelled = [name for name in TEST if VIDEOS[name].label is not None]
    return [f"<results>/localization/{wildcards.model}/{name}.tsv" for name in labelled]


def results_folder(wildcards):
    """The folder behind <results>, for commands that read one file of it per row of the sheet."""
    return config["pathvars"]["results"]


def probes_of_annotated(wildcards):
    """Probes of the videos of a split that have a frame annotation."""
    annotated = [
        v
        for v in VIDEOS.values()
        if v.split == wildcards.split and v.events is not None
    ]
    return [f"<results>/probe/{video.video}.json" for video in annotated]


def annotations_of_split(wildcards):
    """A digest of a split's annotations."""
    return annotations_of(
        [v.video for v in VIDEOS.values() if v.split == wildcards.split]
    )


def annotations_of(names):
    """A digest of what the sheet says of these videos: it changes when an annotation does."""
    rows = [VIDEOS[name] for name in names]
    return digest(
        [(v.video, v.label, v.category, sheet.format_events(v.events)) for v in rows]
    )


def video_annotation(wildcards):
    """The annotated events of a video as a flag of plot-video; none where it is not annotated."""
    events = VIDEOS[wildcards.video].events
    return (
        ""
        if events is None
        else f"--annotated '{sheet.format_events(events) or 'none'}'"
    )


def results_of_annotated_videos(wildcards):
    """Metrics and their curves, where at least one test video has an annotation."""
    if not ANNOTATED:
        return []
    names = [
        f"metrics/{MODEL}.json",
        f"metrics/{MODEL}.tsv",
        f"figures/{MODEL}/roc.svg",
    ]
    return [f"<results>/{name}" for name in names]


def figures_of_test_videos(wildcards):
    """A figure of each test video: it is drawn from the video's scores and events."""
    return [f"<results>/figures/{MODEL}/videos/{name}.png" for name in TEST]


def figures_of_heads(wildcards):
    """The figures of the calibration; a frozen detector has none."""
    names = [] if FROZEN else ["rss", "features"]
    return [f"<results>/figures/{MODEL}/{name}.svg" for name in names]


def deleted_results(wildcards):
    """Scores and events that somebody deleted and whose figure, still there, asks for no others.

    Not simply all of them: Snakemake's time grows with the square of a job's inputs.
    """
    results = Path(config["pathvars"]["results"])
    done = [
        name
        for name in TEST
        if (results / f"figures/{MODEL}/videos/{name}.png").exists()
    ]
    files = [
        f"{kind}/{MODEL}/{name}.tsv" for kind in ("scores", "events") for name in done
    ]
    return [f"<results>/{file}" for file in files if not (results / file).exists()]


def grid(name):
    """A grid of the locator as three words: first, last, count."""
    values = config["locator"][name]
    return [values["first"], values["last"], values["count"]]


def segments_at_most(wildcards):
    """How many segments a video may have: a MiB of video rarely holds more than four."""
    return 1 + 4 * file_mb(VIDEOS[wildcards.video].path)


def segments_mb(wildcards):
    """Disk that the frames of all segments take."""
    return sets_of_frames_mb(segments_at_most(wildcards))


def sets_of_frames_mb(sets):
    """MiB of `sets` times F frames, and some for the file around them."""
    height, width = config["sampling"]["size"]
    return 100 + int(sets * config["sampling"]["frames"] * height * width * 3 / 2**20)


def sample_minutes(wildcards, attempt):
    """Minutes that decoding a video may take, at 2 MiB of file a second."""
    return attempt * (5 + int(file_mb(VIDEOS[wildcards.video].path) / 120))


def capture_minutes(wildcards, attempt):
    """Minutes that one capture may take, three of them for a model that is loaded first."""
    segments = 1 if wildcards.view == "video" else segments_at_most(wildcards)
    return attempt * (3 + int(segments * config["capture"]["segment_seconds"] / 60))


def capture_mb(wildcards, attempt):
    """Memory of the host that a capture may take: the weights pass through it."""
    return attempt * (3000 + int(1.5 * WEIGHTS_MB))


def remove_leftovers():
    """Remove what killed runs left: temporary files, and segments' frames nobody will ask for.

    Snakemake deletes the frames of its own run only. Not from within a bundle: others are at work.
    """
    if workflow.remote_exec:
        return
    paths = config["pathvars"]
    for folder in ("results", "resources"):
        sweep_folder(paths[folder])
    if not workflow.storage_settings.notemp:
        scratch = Path(paths["scratch"].replace("<results>", paths["results"]))
        for name in VIDEOS:
            (scratch / "segments" / f"{name}.h5").unlink(missing_ok=True)


def restart_bundle_as_local_run():
    """In a cluster's allocation, start again as `snakemake --cores` on the bundle that was sent.

    Snakemake's Slurm executor would run its jobs one after the other, each as a step with a Snakemake
    of its own: the resident model would end with every job, and the first failure would end the
    bundle. A second attempt computes what the first did not finish.
    """
    given = sys.argv[1:]
    if "--local-groupid" not in given or "slurm-jobstep" not in given:
        return
    # Hooks end the resident model.
    dropped = {"--executor": 2, "--jobs": 2, "--no-hooks": 1}
    if given[given.index("--attempt") + 1] != "1":
        dropped["--force"] = 1
    for flag, words in dropped.items():
        if flag in given:
            position = given.index(flag)
            del given[position : position + words]
    command = [sys.executable, "-m", "snakemake", *given, "--keep-going"]
    os.execv(sys.executable, command)


# Snakemake asks for the signatures of these functions for every job: kept, planning takes a
# twentieth less.
for function in list(globals().values()):
    if isinstance(function, FunctionType) and function.__globals__ is globals():
        function.__signature__ = signature(function)
