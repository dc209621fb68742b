"""Every error that a user can cause, as one tree.

    HHVADError
    ├── ConfigError      config.yaml, prompts.yaml: a key, a value, a combination
    ├── SheetError       the sample sheet: a row, a column, a split
    ├── AnnotationError  a dataset's annotation file, or scores that do not fit it
    ├── VideoError       a video file that cannot be probed, decoded or sampled
    ├── ArtifactError    a file of ours that is missing, damaged, or of another run
    ├── DataError        numbers that a step of the method cannot work with
    └── ModelError       a checkpoint, its tokenizer or its device

A message names the file, the key and the value, and says what to do. The command line prints it
as one line and exits with code 2; anything else that is raised is a bug and ends in a traceback.
"""


class HHVADError(Exception):
    """The root: catch this to catch whatever a user can put right."""


class ConfigError(HHVADError):
    """A config or prompts file holds an unknown key, a bad value or a bad combination."""


class SheetError(HHVADError):
    """The sample sheet holds a bad row, or lacks what a step needs."""


class AnnotationError(HHVADError):
    """An annotation or score file is malformed or contradicts its videos."""


class VideoError(HHVADError):
    """A video file is missing, damaged, empty or has no video stream."""


class ArtifactError(HHVADError):
    """An intermediate file is missing, damaged or was made with other settings."""


class DataError(HHVADError):
    """Features, labels or scores that a step of the method is not defined on."""


class ModelError(HHVADError):
    """A checkpoint cannot be found, loaded, recognised or fitted into memory."""
