"""Annotation files of data sets. One file and one line each; open to entry points."""

DATASETS = {
    "ucf-crime": "hhvad.datasets.ucf_crime:UcfCrime",
    "xd-violence": "hhvad.datasets.xd_violence:XdViolence",
    "hivau-70k": "hhvad.datasets.hivau_70k:Hivau70k",
    "msad": "hhvad.datasets.msad:Msad",
    "ubnormal": "hhvad.datasets.ubnormal:Ubnormal",
    "dota": "hhvad.datasets.dota:Dota",
    "shanghaitech": "hhvad.datasets.shanghaitech:ShanghaiTech",
}
GROUP = "hhvad.datasets"

# Whose score files `import-scores` reads.
SCORE_FILES = {
    "lavad": "hhvad.datasets.imports:lavad",
    "vera": "hhvad.datasets.imports:vera",
    "headhunt": "hhvad.datasets.imports:headhunt",
}
SCORE_FILES_GROUP = "hhvad.score_files"
