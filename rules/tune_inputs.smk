# What the rules of tuning read, where the config has a section `tune`.

TUNE = STUDY.config.tune
TUNED = STUDY.models[TUNE.model]


def model_to_tune(wildcards, output):
    """Which checkpoint is tuned, as flags."""
    return join(
        [
            *("--model", TUNED.path, f"--revision={TUNED.revision or ''}"),
            *("--commit-file", commit_file(TUNE.model)),
        ]
    )


def questions_to_learn(wildcards):
    """The files of questions and answers, as flags."""
    words = ["--instructions", TUNE.instructions] if TUNE.instructions else []
    words += ["--annotations", *TUNE.annotations] if TUNE.annotations else []
    words += ["--lessons", *TUNE.lessons] if TUNE.lessons else []
    return join(words)


def tune_mb(wildcards, attempt):
    """Memory of the host: the weights pass through it."""
    return attempt * (4000 + int(2.5 * WEIGHTS_MB[TUNE.model]))
