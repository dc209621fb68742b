# What the rules of HIVAU-70k read.

HIVAU = STUDY.config.hivau


def scores_for_hivau(wildcards):
    """The scores that choose the frames, where frames are chosen."""
    return (
        f"<results>/scores/{HIVAU.scores}/{wildcards.video}.tsv" if HIVAU.scores else []
    )


def hivau_scores_flag(wildcards, input):
    """The same as a flag."""
    return join(["--scores", input.scores]) if input.scores else ""


def text_minutes_of_hivau(wildcards, attempt):
    """Minutes for the answers: a video has dozens of questions, each of many tokens."""
    return attempt * 120
