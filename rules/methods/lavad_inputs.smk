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
    """Vectors of one frame every `stride` frames of a video, or of the frames of exact windows."""
    method = STUDY.methods[wildcards.method]
    view = getattr(method, "exact_frames", None) or f"grid{method.stride}"
    return f"<results>/vectors/{method.encoder}/{view}/{wildcards.video}.h5"


def windows_file(wildcards):
    """The frames of exact windows, on scratch, for one reader: see frames_file."""
    size = STUDY.fitted_size(wildcards.model)
    reader = f"vectors.{wildcards.model}"
    return f"<scratch>/windows/{wildcards.windows}/{reader}/{size}/{wildcards.video}.h5"


def windows_at_most(wildcards):
    """How many frames exact windows may need, as grid_at_most."""
    method = STUDY.exact_frames[wildcards.windows]
    strides = 1 + int(4 * 48 * file_mb(video_path(wildcards)) / method.stride)
    return strides * min(method.window.samples, method.stride)


def windows_mb(wildcards):
    """MiB that the frames of exact windows take."""
    return frames_mb(wildcards, windows_at_most(wildcards))


def windows_minutes(wildcards, attempt):
    """Minutes to embed them."""
    seconds = windows_at_most(wildcards) * COMPUTE.segment_seconds
    return attempt * (3 + int(seconds / 60))


def summary_vectors(wildcards):
    """Vectors of a video's summaries, where these are the neighbours."""
    if lavad(wildcards).neighbours.among != "summaries":
        return []
    return vectors_of_summaries(wildcards)


def vectors_of_summaries(wildcards):
    """Vectors of a video's summaries."""
    folder = f"<results>/vectors/{lavad(wildcards).encoder}"
    return f"{folder}/summaries/{wildcards.method}/{wildcards.video}.h5"


def answers_to(question):
    """What the LLM answers to the questions for summaries or ratings."""

    def file(wildcards):
        folder = f"<results>/answers/{lavad(wildcards).llm}/{wildcards.method}"
        return f"{folder}/{question}/{wildcards.video}.jsonl"

    return file


def answer_flags(wildcards):
    """How an LLM chooses its words, or between which numbers."""
    answers = STUDY.methods[wildcards.method].answers
    flags = (
        f"--temperature {answers.temperature:g} --top-p {answers.top_p:g}"
        f" --seed {answers.seed}"
    )
    if answers.number == "expected" and wildcards.question.endswith("rating"):
        choices = join(f"--choice={text}" for text in CHOICES)
        flags = f"{flags} {choices}"
    return flags


def asked_once(wildcards):
    """Whether windows of the same texts share an answer: sampled ones are drawn for each."""
    return "window" if lavad(wildcards).answers.temperature else "question"


def summary_vectors_flag(wildcards, input):
    """The vectors of summaries as a flag, where they are read."""
    return join(["--summary-vectors", input.summaries]) if input.summaries else ""


def fps_flag(wildcards):
    """The frame rate as a flag, where it is not the video's own."""
    return fps_of(lavad(wildcards))


def fps_of(method):
    """The same of a method's settings."""
    return "" if method.fps is None else f"--fps {method.fps}"


def answers_folder(wildcards):
    """Where an LLM's answers are counted, as a flag; for other methods nothing."""
    if wildcards.method not in STUDY.of(Lavad):
        return ""
    return join(
        ["--answers-folder", f"{FOLDERS['results']}/ratings/{wildcards.method}"]
    )


def phrase_vectors(wildcards):
    """Vectors of the phrases that a zero-shot method compares pictures with."""
    method = STUDY.methods[wildcards.method]
    return f"<results>/vectors/{method.encoder}/phrases/{wildcards.method}.h5"
