# What the rule of marks reads, by method.


def marked_videos(wildcards):
    """The videos whose marked events later ones are compared with."""
    return STUDY.marked(wildcards.method)


def ordinary_videos(wildcards):
    """The footage that centres and scales features: the reference, or normal calibration videos."""
    if wildcards.method in STUDY.budgeted:
        return REFERENCE
    return [name for name in CALIBRATION if STUDY.videos[name].label == "normal"]


def ordinary_features(wildcards):
    """Their head features, as the method captures them."""
    names = ordinary_videos(wildcards)
    method, prompt = settings(wildcards), STUDY.online(wildcards.method)
    budget = wildcards.method in STUDY.budgeted
    view = "segments" if budget else method.calibration.view
    return [
        f"<results>/heads/{method.model}/{view}/{prompt}/{name}.h5" for name in names
    ]


def features_of_marks(wildcards):
    """Head features of the marked videos' segments under the online prompt."""
    method, prompt = settings(wildcards), STUDY.online(wildcards.method)
    folder = f"<results>/heads/{method.model}/segments/{prompt}"
    return [f"{folder}/{name}.h5" for name in marked_videos(wildcards)]
