# What the rules of trained scorers read.


def class_vectors(wildcards):
    """Class vectors of one frame every `stride` frames."""
    return class_vectors_of(wildcards.method, wildcards.video)


def class_vectors_of(name, video):
    method = STUDY.methods[name]
    return f"<results>/vectors/{method.model}/class{method.stride}/{video}.h5"


def vectors_to_train_on(wildcards):
    """The same of all calibration videos."""
    return [class_vectors_of(wildcards.method, name) for name in CALIBRATION]


def weights_of_scorer(wildcards):
    """The head: a given file, or the one that is trained here."""
    given = STUDY.methods[wildcards.method].weights
    return given or f"<results>/trained/{wildcards.method}.safetensors"


def how_to_train(wildcards):
    """The settings of a training, as flags."""
    settings = STUDY.methods[wildcards.method].train.model_dump()
    return join(
        word for key, value in settings.items() for word in (f"--{key}", str(value))
    )
