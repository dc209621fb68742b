# hhvad: from a sheet of videos to scored, localised and reported anomalies (HeadHunt-VAD).
#
#   snakemake --cores all                  the demo, or your own videos: edit config/
#   snakemake --profile slurm              the same on a cluster
#   snakemake --report report.html         figures and tables in one page
#
# Read the rules in this order; together they are the method.

from snakemake.utils import min_version

min_version("9.20")


configfile: "config/config.yaml"


# config's pathvars come before these.
pathvars:
    benchmarks="logs/benchmarks",
    scratch="<results>/scratch",


report: "workflow/report/workflow.rst"


include: "rules/common.smk"


if workflow.remote_exec:
    restart_bundle_as_local_run()


include: "rules/demo.smk"
include: "rules/videos.smk"
include: "rules/capture.smk"
include: "rules/heads.smk"
include: "rules/detect.smk"
include: "rules/report.smk"
include: "rules/train.smk"


# A GPU belongs to a node: the limit `--resources gpu=N` holds in each allocation, not over all.
resource_scopes:
    gpu="local",


wildcard_constraints:
    video=r"[A-Za-z0-9][A-Za-z0-9._=#-]*",
    model=r"[A-Za-z0-9][A-Za-z0-9._-]*",
    prompt=r"[A-Za-z0-9][A-Za-z0-9_-]*",
    view=r"video|segments",
    split=r"validation|test",


# Seconds each: no jobs for a cluster's queue.
localrules:
    all,
    check_annotations,
    label_segments,
    fit_scorer,
    score_video,
    calibrate_locator,
    localize_events,
    report_metrics,
    plot_curves,
    plot_heads,
    plot_features,
    plot_video,


# Scores, events and a figure of every test video; metrics where there are annotations.
rule all:
    default_target: True
    input:
        annotations="<results>/annotations/test.tsv",
        results=results_of_annotated_videos,
        heads=figures_of_heads,
        videos=figures_of_test_videos,
        deleted=deleted_results,


onsuccess:
    remove_leftovers()
    shell("hhvad stop-resident")


onerror:
    shell("hhvad stop-resident; hhvad list-failures --logs {LOGS:q} --since {STARTED}")
