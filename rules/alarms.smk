# Thresholds from a budget of alarms, and events by camera: for the methods that ask for either.


rule calibrate_budget:
    """Choose each camera's threshold for the alarms that a person can look at."""
    input:
        scores=scores_of("reference"),
        probes=probes_of(REFERENCE),
    output:
        "<results>/locator/{method}.json",
    log:
        "<logs>/calibrate_budget/{method}.log",
    benchmark:
        "<benchmarks>/calibrate_budget/{method}.tsv"
    wildcard_constraints:
        method=one_of(STUDY.budgeted),
    conda:
        "../envs/light.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        cameras=[STUDY.videos[name].camera for name in REFERENCE],
        started=[start_of(name) or "unknown" for name in REFERENCE],
        alarms_per_day=lambda wildcards: locator_of(wildcards).alarms_per_day,
        window=lambda wildcards: locator_of(wildcards).window,
        drop_top=lambda wildcards: locator_of(wildcards).drop_top,
        pool=lambda wildcards: locator_of(wildcards).pool,
        by=lambda wildcards: locator_of(wildcards).by or "none",
        border=lambda wildcards: locator_of(wildcards).border,
        passes=lambda wildcards: locator_of(wildcards).passes,
        tail=lambda wildcards: locator_of(wildcards).tail,
        causal=lambda wildcards: "yes" if locator_of(wildcards).causal else "no",
        sigma=lambda wildcards: locator_of(wildcards).fallback.sigma,
        tau=lambda wildcards: locator_of(wildcards).fallback.tau,
    shell:
        "hhvad calibrate-budget {input.scores:q}"
        " --probes {input.probes:q}"
        " --cameras {params.cameras:q}"
        " --started {params.started:q}"
        " --alarms-per-day {params.alarms_per_day}"
        " --window {params.window}"
        " --drop-top {params.drop_top}"
        " --pool {params.pool}"
        " --by {params.by}"
        " --border {params.border}"
        " --passes {params.passes}"
        " --tail {params.tail}"
        " --causal {params.causal}"
        " --sigma {params.sigma}"
        " --tau {params.tau}"
        " --out {output:q} > {log:q} 2>&1"


rule localize_alarms:
    """Smooth a video's scores over time and cut out the events that its camera's settings show."""
    input:
        scores="<results>/scores/{method}/{video}.tsv",
        locator="<results>/locator/{method}.json",
        probe="<results>/probe/{video}.json",
        suppress=inputs_of_suppression,
    output:
        scores="<results>/localization/{method}/{video}.tsv",
        events="<results>/events/{method}/{video}.tsv",
        json="<results>/events/{method}/{video}.json",
    log:
        "<logs>/localize_alarms/{method}/{video}.log",
    benchmark:
        "<benchmarks>/localize_alarms/{method}/{video}.tsv"
    wildcard_constraints:
        method=one_of(STUDY.alarmed),
    conda:
        "../envs/light.yaml"
    resources:
        mem_mb=500,
        runtime=10,
    params:
        camera=camera_of,
        started=started_flag,
        merge_gap=lambda wildcards: locator_of(wildcards).merge_gap,
        min_duration=lambda wildcards: locator_of(wildcards).min_duration,
        pad=lambda wildcards: locator_of(wildcards).pad,
        low=lambda wildcards: (
            "none" if locator_of(wildcards).low is None else locator_of(wildcards).low
        ),
        ignore_hours=ignored_hours,
        suppress=suppress_flags,
        similarity=similarity_flag,
    shell:
        "hhvad localize-alarms"
        " --video {wildcards.video:q}"
        " --method {wildcards.method:q}"
        " --scores {input.scores:q}"
        " --locator {input.locator:q}"
        " --probe {input.probe:q}"
        " --camera {params.camera:q}"
        " {params.started}"
        " --merge-gap {params.merge_gap}"
        " --min-duration {params.min_duration}"
        " --pad {params.pad}"
        " --low {params.low}"
        " --ignore-hours {params.ignore_hours}"
        " {params.suppress}"
        " {params.similarity}"
        " --out-scores {output.scores:q}"
        " --out-events {output.events:q}"
        " --out-json {output.json:q} 2> {log:q}"


localrules:
    calibrate_budget,
    localize_alarms,
