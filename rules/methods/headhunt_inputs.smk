# What the rules of HeadHunt read, by method.


def settings(wildcards):
    """The keys of a method's entry in the config."""
    return STUDY.methods[wildcards.method]


def calibration_features(wildcards):
    """Head features of the calibration videos under one prompt; without one named, the online one."""
    prompt = getattr(wildcards, "prompt", STUDY.online(wildcards.method))
    method = settings(wildcards)
    folder = f"<results>/heads/{method.model}/{method.calibration.view}/{prompt}"
    return [f"{folder}/{name}.h5" for name in CALIBRATION]


def features_of_all_prompts(wildcards):
    """Head features of the calibration videos under every prompt, one prompt after the other."""
    method = settings(wildcards)
    folder = f"<results>/heads/{method.model}/{method.calibration.view}"
    prompts = STUDY.prompts_of(wildcards.method)
    return [
        f"{folder}/{prompt}/{name}.h5" for prompt in prompts for name in CALIBRATION
    ]


def saliency_of_all_prompts(wildcards):
    """Saliency under each prompt, in the order of the prompts file."""
    prompts = STUDY.prompts_of(wildcards.method)
    return [f"<results>/saliency/{wildcards.method}/{prompt}.h5" for prompt in prompts]


def segment_labels(wildcards):
    """Labels of the calibration videos' segments, where these are the samples."""
    if settings(wildcards).calibration.view != "segments":
        return []
    return "<results>/annotations/segments.tsv"


def sample_labels(wildcards, input):
    """The labels of the calibration samples, as a flag."""
    if input.segments:
        return join(["--segment-labels", input.segments])
    return join(["--labels", *(STUDY.videos[name].label for name in CALIBRATION)])


def online_features(wildcards):
    """Head features of a video's segments under the online prompt."""
    folder = f"{settings(wildcards).model}/segments/{STUDY.online(wildcards.method)}"
    return f"<results>/heads/{folder}/{wildcards.video}.h5"


def scorer_of(wildcards):
    """The fitted scorer, or the frozen detector that holds one."""
    frozen = STUDY.frozen.get(wildcards.method)
    return frozen.path if frozen else f"<results>/scorer/{wildcards.method}.h5"


def online_features_of_all_prompts(wildcards):
    """Head features of a video's segments under every prompt."""
    model = settings(wildcards).model
    return [
        f"<results>/heads/{model}/segments/{prompt}/{wildcards.video}.h5"
        for prompt in STUDY.prompts_of(wildcards.method)
    ]


def sweep_flag(wildcards, output):
    """The figure of the sweep as a flag, where it is drawn."""
    return join(["--sweep", output.sweep]) if "sweep" in output.keys() else ""
