# What the rules of Probe-VAD read, by method.


def probe(wildcards):
    """The keys of a method's entry in the config."""
    return STUDY.methods[wildcards.method]


def probed_frames(wildcards):
    """The frames of a video's segments, on scratch, for this method alone: see frames_file."""
    size = STUDY.size_name(wildcards.model)
    return f"<scratch>/segments/probe.{wildcards.method}/{size}/{wildcards.video}.h5"


def question_flags(wildcards):
    """Its questions and the two answers to them, as flags."""
    method = probe(wildcards)
    words = [f"--question={text}" for text in method.questions]
    return join([*words, *(f"--answer={text}" for text in method.answers)])


def probabilities(wildcards):
    """How likely its model gives each answer."""
    return f"<results>/logprobs/{probe(wildcards).model}/{wildcards.method}/{wildcards.video}.h5"


def sigma_flag(wildcards):
    """Its own smoothing as a flag; nothing where it has none."""
    sigma = probe(wildcards).sigma
    return "" if sigma is None else f"--sigma {sigma}"
