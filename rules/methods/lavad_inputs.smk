# What the rules of LAVAD read, by method.


def lavad(wildcards):
    """The keys of a method's entry in the config."""
    return STUDY.lavad(wildcards.method)


def captions_of_captioners(wildcards, folder="<results>", suffix="jsonl"):
    """Captions of a video by each captioner, or another file of the same name."""
    method = lavad(wildcards)
    return [
        f"{folder}/captions/{name}/grid{method.stride}/{method.caption.id}/{wildcards.video}.{suffix}"
        for name in method.captioners
    ]


def caption_vectors(wildcards):
    """Vectors of the captions by each captioner."""
    folder = f"<results>/vectors/{lavad(wildcards).encoder}"
    return captions_of_captioners(wildcards, folder, "h5")


def frame_vectors(wildcards):
    """Vectors of one frame every `stride` frames of a video, for any method with an encoder."""
    method = STUDY.methods[wildcards.method]
    return (
        f"<results>/vectors/{method.encoder}/grid{method.stride}/{wildcards.video}.h5"
    )


def summary_vectors(wildcards):
    """Vectors of a video's summaries, where these are the neighbours."""
    if lavad(wildcards).neighbours.among != "summaries":
        return []
    folder = f"<results>/vectors/{lavad(wildcards).encoder}"
    return f"{folder}/summaries/{wildcards.method}/{wildcards.video}.h5"


def answers_to(question):
    """What the LLM answers to the questions for summaries or ratings."""

    def file(wildcards):
        folder = f"<results>/answers/{lavad(wildcards).llm}/{wildcards.method}"
        return f"{folder}/{question}/{wildcards.video}.jsonl"

    return file


def summary_vectors_flag(wildcards, input):
    """The vectors of summaries as a flag, where they are read."""
    return join(["--summary-vectors", input.summaries]) if input.summaries else ""


def fps_flag(wildcards):
    """The frame rate as a flag, where it is not the video's own."""
    fps = lavad(wildcards).fps
    return "" if fps is None else f"--fps {fps}"


def phrase_vectors(wildcards):
    """Vectors of the phrases that a zero-shot method compares pictures with."""
    method = STUDY.methods[wildcards.method]
    return f"<results>/vectors/{method.encoder}/phrases/{wildcards.method}.h5"


def class_vectors(wildcards):
    """Class vectors of one frame every `stride` frames, for a trained scorer."""
    method = STUDY.methods[wildcards.method]
    return f"<results>/vectors/{method.model}/class{method.stride}/{wildcards.video}.h5"
