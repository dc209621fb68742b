# From head features to scores, and from scores to events.


rule score_video:
    """Give each segment its probability of being anomalous."""
    input:
        features=f"<results>/heads/{{model}}/segments/{ONLINE}/{{video}}.h5",
        scorer=SCORER,
    output:
        "<results>/scores/{model}/{video}.tsv",
    log:
        "<logs>/score_video/{model}/{video}.log",
    benchmark:
        "<benchmarks>/score_video/{model}/{video}.tsv"
    conda:
        "../envs/light.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    shell:
        "hhvad score-video"
        " --features {input.features:q}"
        " --scorer {input.scorer:q}"
        " --out {output:q} 2> {log:q}"


rule calibrate_locator:
    """Choose smoothing and threshold on the validation videos; the result is the detector."""
    input:
        scorer="<results>/scorer/{model}.h5",
        scores=validation_scores,
        probes=validation_probes,
        annotations="<results>/annotations/validation.tsv",
    output:
        detector="<results>/detector/{model}.h5",
        summary="<results>/detector/{model}.json",
    log:
        "<logs>/calibrate_locator/{model}.log",
    benchmark:
        "<benchmarks>/calibrate_locator/{model}.tsv"
    conda:
        "../envs/light.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        events=VALIDATION_EVENTS,
        sigmas=grid("sigmas"),
        taus=grid("taus"),
        border=config["locator"]["border"],
        sigma=config["locator"]["sigma"],
        tau=config["locator"]["tau"],
        schema=SCHEMA_VERSIONS["detector"],
    shell:
        "hhvad calibrate-locator"
        " --scorer {input.scorer:q}"
        " --scores {input.scores:q}"
        " --probes {input.probes:q}"
        " --events {params.events:q}"
        " --sigmas {params.sigmas}"
        " --thresholds {params.taus}"
        " --border {params.border}"
        " --fixed-sigma {params.sigma}"
        " --fixed-tau {params.tau}"
        " --out {output.detector:q}"
        " --summary {output.summary:q} 2> {log:q}"


rule localize_events:
    """Smooth a video's scores over time and cut out what exceeds the threshold."""
    input:
        scores="<results>/scores/{model}/{video}.tsv",
        detector=DETECTOR,
        probe="<results>/probe/{video}.json",
    output:
        scores="<results>/localization/{model}/{video}.tsv",
        events=report(
            "<results>/events/{model}/{video}.tsv",
            caption="../workflow/report/events.rst",
            category="Videos",
            labels={"video": "{video}", "view": "events"},
        ),
        json="<results>/events/{model}/{video}.json",
    log:
        "<logs>/localize_events/{model}/{video}.log",
    benchmark:
        "<benchmarks>/localize_events/{model}/{video}.tsv"
    conda:
        "../envs/light.yaml"
    resources:
        mem_mb=500,
        runtime=10,
    shell:
        "hhvad localize-events"
        " --video {wildcards.video:q}"
        " --scores {input.scores:q}"
        " --detector {input.detector:q}"
        " --probe {input.probe:q}"
        " --out-scores {output.scores:q}"
        " --out-events {output.events:q}"
        " --out-json {output.json:q} 2> {log:q}"
