# What the rules of HiProbe-VAD read, by method.


def frames_of_states(wildcards):
    """The frames whose states are captured: on scratch, but for calibration samples."""
    size = STUDY.size_name(wildcards.model)
    split = STUDY.videos[wildcards.video].split
    view = settings_of_states(wildcards).calibration.view
    if wildcards.view == "video" or (split == "calibration" and view == "segments"):
        return f"<results>/frames/{wildcards.view}/{size}/{wildcards.video}.h5"
    return f"<scratch>/segments/states.{wildcards.prompt}/{size}/{wildcards.video}.h5"


def settings_of_states(wildcards):
    """The keys of the method after which states are named, as captures are after prompts."""
    return STUDY.methods[wildcards.prompt]


def states_of_calibration(wildcards):
    """Hidden states of the calibration videos."""
    method = settings(wildcards)
    folder = f"<results>/states/{method.model}/{method.calibration.view}"
    return [f"{folder}/{wildcards.method}/{name}.h5" for name in CALIBRATION]


def states_of_segments(wildcards):
    """Hidden states of a video's segments."""
    folder = f"<results>/states/{settings(wildcards).model}/segments"
    return f"{folder}/{wildcards.method}/{wildcards.video}.h5"


def no_siblings(wildcards):
    """One question alone is asked for states."""
    return ""
