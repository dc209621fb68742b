# What the rules of descriptions read.

DESCRIBE = STUDY.describe
DESCRIBED = one_of([STUDY.described] if DESCRIBE else [])
# Who describes events and videos: of texts alone it may be another model than the one that looks.
UPPER = (
    DESCRIBE
    and (DESCRIBE.hierarchy == "texts" and DESCRIBE.llm)
    or DESCRIBE
    and DESCRIBE.model
)


def scores_of_focus(wildcards):
    """The scores that choose the frames."""
    return f"<results>/scores/{DESCRIBE.focus.scores or wildcards.method}/{wildcards.video}.tsv"


def frames_of_focus(wildcards):
    """The chosen frames at the size of the model that looks."""
    size = STUDY.size_name(DESCRIBE.model)
    return f"<scratch>/focus/{wildcards.method}/{size}/{wildcards.video}.h5"


def model_flags(name):
    """Which model is asked, as flags."""
    model = STUDY.models[name]
    return join(
        [
            *("--model", model.path, "--model-name", name),
            *(f"--revision={model.revision or ''}", "--dtype", model.dtype),
        ]
    )


def kept_answers(level):
    """Where answers of earlier runs are: Snakemake deletes outputs before it makes them again."""

    def path(wildcards):
        folder = f"{FOLDERS['results']}/descriptions/{wildcards.method}"
        return f"{folder}/kept/{level}/{wildcards.video}.jsonl"

    return path


def describe_mb(wildcards, attempt):
    """Memory of the host: the weights pass through it."""
    return attempt * (
        3000 + int(1.5 * max(WEIGHTS_MB[DESCRIBE.model], WEIGHTS_MB[UPPER]))
    )


def describe_minutes(wildcards, attempt):
    """Minutes for the answers: few per video, but each of many tokens."""
    return attempt * 30


def looking_flags(wildcards, output):
    """How the model runs that looks, as flags."""
    return flags_of_compute(DESCRIBE.model)


def upper_flags(wildcards, output):
    """How the model runs that describes events and videos, as flags."""
    return flags_of_compute(UPPER)
