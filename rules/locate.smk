# From scores to events, for every method alike.


rule calibrate_locator:
    """Choose smoothing and threshold on the validation videos."""
    input:
        scores=scores_of("validation"),
        probes=probes_of(VALIDATION),
        annotations="<results>/annotations/validation.tsv",
    output:
        "<results>/locator/{method}.json",
    log:
        "<logs>/calibrate_locator/{method}.log",
    benchmark:
        "<benchmarks>/calibrate_locator/{method}.tsv"
    wildcard_constraints:
        method=one_of(CALIBRATED),
    conda:
        "../envs/light.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        events=[
            format_events(STUDY.videos[name].events) or "none" for name in VALIDATION
        ],
        sigmas=lambda wildcards: locator_of(wildcards).sigmas.words(),
        taus=lambda wildcards: locator_of(wildcards).thresholds,
        border=lambda wildcards: locator_of(wildcards).border,
        sigma=lambda wildcards: locator_of(wildcards).fallback.sigma,
        tau=lambda wildcards: locator_of(wildcards).fallback.tau,
        passes=lambda wildcards: locator_of(wildcards).passes,
        tail=lambda wildcards: locator_of(wildcards).tail,
        causal=lambda wildcards: "yes" if locator_of(wildcards).causal else "no",
        calibrate=lambda wildcards: "yes" if locator_of(wildcards).calibrate else "no",
    shell:
        "hhvad calibrate-locator"
        " --scores {input.scores:q}"
        " --probes {input.probes:q}"
        " --events {params.events:q}"
        " --sigmas {params.sigmas}"
        " --taus {params.taus}"
        " --border {params.border}"
        " --sigma {params.sigma}"
        " --tau {params.tau}"
        " --passes {params.passes}"
        " --tail {params.tail}"
        " --causal {params.causal}"
        " --calibrate {params.calibrate}"
        " --out {output:q} 2> {log:q}"


rule localize_events:
    """Smooth a video's scores over time and cut out what exceeds the threshold."""
    input:
        scores="<results>/scores/{method}/{video}.tsv",
        locator="<results>/locator/{method}.json",
        probe="<results>/probe/{video}.json",
    output:
        scores="<results>/localization/{method}/{video}.tsv",
        events="<results>/events/{method}/{video}.tsv",
        json="<results>/events/{method}/{video}.json",
    log:
        "<logs>/localize_events/{method}/{video}.log",
    benchmark:
        "<benchmarks>/localize_events/{method}/{video}.tsv"
    wildcard_constraints:
        method=one_of(m for m in STUDY.methods if m not in STUDY.alarmed),
    conda:
        "../envs/light.yaml"
    resources:
        mem_mb=500,
        runtime=10,
    params:
        started=started_flag,
    shell:
        "hhvad localize-events"
        " --video {wildcards.video:q}"
        " --method {wildcards.method:q}"
        " --scores {input.scores:q}"
        " --locator {input.locator:q}"
        " --probe {input.probe:q}"
        " {params.started}"
        " --out-scores {output.scores:q}"
        " --out-events {output.events:q}"
        " --out-json {output.json:q} 2> {log:q}"
