# What the rules of VERA read, by method.


def vera(wildcards):
    """The keys of a method's entry in the config."""
    return STUDY.methods[wildcards.method]


def windows_around(wildcards):
    """The frames of a video's windows, on scratch, for this method alone: see frames_file."""
    size = STUDY.size_name(wildcards.model)
    view = vera(wildcards).view
    return (
        f"<scratch>/around/{view}/vera.{wildcards.method}/{size}/{wildcards.video}.h5"
    )


def windows_flags(wildcards):
    """Which windows a file's name means, as flags."""
    stride, length, samples = wildcards.around.split("-")
    return f"--stride {stride} --length {length} --samples {samples}"


def around_at_most(wildcards):
    """How many frames all windows together may have, as grid_at_most."""
    stride, _, samples = map(int, wildcards.around.split("-"))
    return int(samples) * (1 + int(4 * 48 * file_mb(video_path(wildcards)) / stride))


def around_mb(wildcards):
    """MiB that these take."""
    return frames_mb(wildcards, around_at_most(wildcards))


def guide_file(wildcards):
    """The file of learnt questions; fixed ones are a param."""
    if not vera(wildcards).learn:
        return []
    return f"<results>/questions/{wildcards.method}.yaml"


def guided_question(wildcards):
    """Its guiding questions as one question, and the two answers to it, as flags.

    Without `input`: Snakemake keeps no record of params that take inputs.
    """
    if vera(wildcards).learn:
        path = f"{FOLDERS['results']}/questions/{wildcards.method}.yaml"
        return join(["--guide", path])
    asked = STUDY.guides[wildcards.method]
    answers = (f"--answer={text}" for text in asked.answers)
    return join([f"--question={asked.text}", *answers])


def frames_to_learn_from(names):
    """Frames of whole videos, for the model of a method."""

    def files(wildcards):
        size = STUDY.size_name(vera(wildcards).model)
        return [f"<results>/frames/video/{size}/{name}.h5" for name in names]

    return files


def learnt_from(wildcards):
    """What the steps of learning depend on, as a digest: a journal of other ones is no use."""
    method = vera(wildcards)
    model = STUDY.models[method.model]
    return digest(
        [
            STUDY.guides[wildcards.method].model_dump(mode="json"),
            method.learn.model_dump(mode="json"),
            [model.path, model.revision, model.dtype, STAMPS[method.model]],
            [(name, STUDY.videos[name].label) for name in [*CALIBRATION, *VALIDATION]],
            [SAMPLING.frames_per_segment, *STUDY.size(method.model)],
        ]
    )


def guided_shape(wildcards):
    """What the answers depend on of the frames, which are temporary."""
    size = STUDY.size(wildcards.model)
    return [vera(wildcards).view, *size, *STUDY.mask(wildcards.video)]


def guided_minutes(wildcards, attempt):
    """Minutes to look at every window, where one is like a segment."""
    windows = 1 + int(4 * 48 * file_mb(video_path(wildcards)) / vera(wildcards).stride)
    return attempt * (3 + int(windows * COMPUTE.segment_seconds / 60))


def guided_answers(wildcards):
    """How likely its model gives each answer."""
    return f"<results>/logprobs/{vera(wildcards).model}/{wildcards.method}/{wildcards.video}.h5"


def vectors_of_alike(wildcards):
    """Vectors of one frame every `stride` frames, where windows correct each other."""
    return frame_vectors(wildcards) if vera(wildcards).encoder else []


def alike_flag(wildcards, input):
    """The vectors that tell which windows are alike, as a flag."""
    return join(["--frame-vectors", input.frames]) if input.frames else ""


def score_flags(wildcards):
    """How answers become scores, as flags."""
    method = vera(wildcards)
    words = [f"--stride={method.stride}", f"--length={method.window.frames}"]
    words += [f"--samples={method.window.samples}"]
    words += ["--rounded"] if method.rounded else []
    words += ["--position-weight"] if method.position_weight else []
    if method.smoothing is not None:
        words += [f"--points={method.smoothing.points}"]
        words += [f"--sigma={method.smoothing.sigma:g}"]
    if method.encoder:
        alike = method.neighbours
        words += [f"--share={alike.share:g}", f"--temperature={alike.temperature:g}"]
    return join(words)
