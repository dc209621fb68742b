"""Annotation files of data sets. One file and one line each; open to entry points."""

DATASETS = {
    "ucf-crime": "hhvad.datasets.ucf_crime:UcfCrime",
    "xd-violence": "hhvad.datasets.xd_violence:XdViolence",
    "hivau-70k": "hhvad.datasets.hivau_70k:Hivau70k",
}
GROUP = "hhvad.datasets"
