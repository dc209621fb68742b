"""The ways from a video to its scores. A method writes `<results>/scores/{method}/{video}.tsv`.

Each kind has a package here (settings.py: its keys), a file of rules, rules/methods/KIND.smk, and
a line in this table. Other packages offer kinds as entry points of group `hhvad.methods`.
"""

KINDS = {
    "headhunt": "hhvad.methods.headhunt.settings:HeadHunt",
    "motion": "hhvad.methods.motion.settings:Motion",
    "lavad": "hhvad.methods.lavad.settings:Lavad",
    "probe": "hhvad.methods.probe.settings:Probe",
    "hiprobe": "hhvad.methods.hiprobe.settings:HiProbe",
    "vera": "hhvad.methods.vera.settings:Vera",
    "scorer": "hhvad.methods.scorer.settings:Scorer",
    "zero-shot": "hhvad.methods.zero_shot.settings:ZeroShot",
}
GROUP = "hhvad.methods"
