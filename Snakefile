# hhvad: from a sheet of videos to scored, localised and reported anomalies.
#
#   snakemake --cores all                              the demo
#   snakemake --cores all --configfile config/my.yaml  your own study, whole in itself
#   snakemake --profile slurm --configfile ...         the same on a cluster
#   snakemake --report report.zip                      the viewer and all figures in one file
#
# Read the rules in this order; together they are the methods.

from snakemake.utils import min_version

min_version("9.20")


# A config of your own inherits nothing of the demo's.
if not workflow.overwrite_configfiles:

    configfile: "config/config.yaml"


include: "rules/common.smk"


pathvars:
    **FOLDERS,


report: "workflow/report/workflow.rst"


if workflow.remote_exec:
    restart_bundle_as_local_run()

if DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method:
    commands = hhvad_in_environments(Path(".snakemake/code"))
    shell.prefix(commands.replace("{", "{{").replace("}", "}}"))

for note in STUDY.notes:
    logger.info(f"Note: {note}.")


include: "rules/demo.smk"
include: "rules/videos.smk"
include: "rules/models.smk"
include: "rules/methods/headhunt_inputs.smk"
include: "rules/methods/headhunt.smk"
include: "rules/methods/headhunt_ablate.smk"
include: "rules/methods/hiprobe_inputs.smk"
include: "rules/methods/hiprobe.smk"
include: "rules/methods/motion.smk"
include: "rules/methods/probe_inputs.smk"
include: "rules/methods/probe.smk"
include: "rules/methods/lavad_inputs.smk"
include: "rules/methods/lavad.smk"
include: "rules/methods/lavad_ablate.smk"
include: "rules/methods/zero_shot.smk"
include: "rules/methods/vera_inputs.smk"
include: "rules/methods/vera.smk"
include: "rules/methods/scorer_inputs.smk"
include: "rules/methods/scorer.smk"
include: "rules/locate.smk"


if STUDY.alarmed:

    include: "rules/alarms.smk"


if STUDY.marks:

    include: "rules/marks_inputs.smk"
    include: "rules/marks.smk"


include: "rules/describe_inputs.smk"
include: "rules/describe.smk"


if STUDY.config.hivau:

    include: "rules/hivau_inputs.smk"
    include: "rules/hivau.smk"


if STUDY.config.tune:

    include: "rules/tune_inputs.smk"
    include: "rules/tune.smk"

    rule tune:
        """A checkpoint for `models.NAME.path` of another config, in no default target."""
        input:
            "<results>/tuned/checkpoint",


include: "rules/report.smk"
include: "rules/compare.smk"
include: "rules/viewer.smk"
include: "rules/train.smk"


# A GPU belongs to a node: the limit `--resources gpu=N` holds in each allocation, not over all.
resource_scopes:
    gpu="local",


# What is not configured cannot be made: "no rule produces".
wildcard_constraints:
    video=one_of(STUDY.videos),
    model=one_of(STUDY.models),
    method=one_of(STUDY.methods),
    prompt=one_of(prompt for _, prompt in STUDY.prompts),
    size=r"[0-9]+x[0-9]+(-crop)?",
    reader=one_of(readers_of_frames(STUDY)),
    stride=r"[0-9]+",
    view=r"video|video-but-last|segments",
    split=r"validation|test",


# Seconds each: no jobs for a cluster's queue.
localrules:
    all,
    check_annotations,
    label_segments,
    fit_scorer,
    score_headhunt,
    pack_detector,
    unpack_locator,
    score_variants,
    score_each_prompt,
    measure_motion,
    score_motion,
    score_probe,
    score_vera,
    score_layers,
    fit_layer,
    score_layer,
    clean_captions,
    ask_summaries,
    read_summaries,
    ask_ratings,
    read_ratings,
    refine_scores,
    raw_captions,
    list_captions,
    ask_raw_summaries,
    read_raw_summaries,
    ask_raw_ratings,
    read_raw_ratings,
    ask_caption_ratings,
    read_caption_ratings,
    score_ablations,
    ablate_lavad,
    write_phrases,
    score_zero_shot,
    score_vectors,
    calibrate_locator,
    localize_events,
    sample_focus,
    report_descriptions,
    report_metrics,
    plot_curves,
    compare_methods,
    compare_costs,
    plot_heads,
    plot_features,
    plot_video,
    build_viewer,


# Scores, events and a figure of every test video; metrics where there are annotations; sentences
# where the config has a section `describe`.
rule all:
    default_target: True
    input:
        annotations="<results>/annotations/test.tsv",
        results=results_of_methods,
        videos=figures_of_test_videos,
        descriptions=descriptions_of_test_videos,
        hivau=results_of_hivau,
        deleted=deleted_results,
        viewer="<results>/viewer",


# A checkpoint that cannot be asked costs one line within seconds, not one per capture. Bundles in an
# allocation leave it at the check that was made before they were sent.
onstart:
    # Snakemake 9 looks for work again one second after each look, for its limit of 100 jobs a second:
    # with each finished job there is one more such look a second, until it is all that a core does.
    if workflow.local_exec:
        workflow.scheduler.job_rate_limiter = None
    if not workflow.remote_exec:
        for command in check_commands(STUDY, STAMPS, here=workflow.local_exec):
            shell("{command}")


onsuccess:
    if not workflow.remote_exec:  # in a bundle others are at work
        remove_leftovers(FOLDERS, workflow.storage_settings.notemp)
    shell("hhvad stop-resident")


onerror:
    shell("hhvad stop-resident; hhvad list-failures --logs {LOGS:q} --since {STARTED}")
