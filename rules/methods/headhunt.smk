# Robust Head Identification and the scorer, from the captures of the calibration videos.


rule score_saliency:
    """Measure how well each head separates normal from anomalous videos under one prompt."""
    input:
        features=calibration_features,
        segments=segment_labels,
    output:
        "<results>/saliency/{model}/{prompt}.h5",
    log:
        "<logs>/score_saliency/{model}/{prompt}.log",
    benchmark:
        "<benchmarks>/score_saliency/{model}/{prompt}.tsv"
    conda:
        "../envs/light.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        labels=sample_labels,
        metrics=config["saliency"]["metrics"],
        shrinkage=config["saliency"]["shrinkage"],
        schema=SCHEMA_VERSIONS["saliency"],
    shell:
        "hhvad score-saliency"
        " --features {input.features:q}"
        " {params.labels}"
        " --metrics {params.metrics}"
        " --shrinkage {params.shrinkage}"
        " --threads {threads}"
        " --out {output:q} 2> {log:q}"


rule identify_heads:
    """Choose the experts: the heads that are salient under every prompt (RSS = mean - lambda sd)."""
    input:
        saliency=saliency_of_all_prompts,
        features=features_of_all_prompts,
        segments=segment_labels,
    output:
        experts="<results>/experts/{model}.h5",
        table=report(
            "<results>/experts/{model}.tsv",
            caption="../workflow/report/experts.rst",
            category="Heads",
            labels={"model": "{model}", "table": "experts"},
        ),
    log:
        "<logs>/identify_heads/{model}.log",
    benchmark:
        "<benchmarks>/identify_heads/{model}.tsv"
    conda:
        "../envs/light.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        experts=config["experts"]["count"],
        penalty=config["experts"]["penalty"],
        bootstrap=config["experts"]["bootstrap"],
        seed=config["experts"]["seed"],
        labels=sample_labels,
        schema=SCHEMA_VERSIONS["experts"],
    shell:
        "hhvad identify-heads"
        " --saliency {input.saliency:q}"
        " --features {input.features:q}"
        " {params.labels}"
        " --experts {params.experts}"
        " --penalty {params.penalty}"
        " --bootstrap {params.bootstrap}"
        " --seed {params.seed}"
        " --threads {threads}"
        " --out {output.experts:q}"
        " --table {output.table:q} 2> {log:q}"


rule fit_scorer:
    """Fit the classifier on the experts' features of the calibration videos."""
    input:
        features=calibration_features,
        segments=segment_labels,
        experts="<results>/experts/{model}.h5",
    output:
        "<results>/scorer/{model}.h5",
    log:
        "<logs>/fit_scorer/{model}.log",
    benchmark:
        "<benchmarks>/fit_scorer/{model}.tsv"
    conda:
        "../envs/light.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        labels=sample_labels,
        kind=config["scorer"]["kind"],
        seed=config["scorer"]["seed"],
        schema=SCHEMA_VERSIONS["scorer"],
    shell:
        "hhvad fit-scorer"
        " --features {input.features:q}"
        " {params.labels}"
        " --experts {input.experts:q}"
        " --kind {params.kind}"
        " --seed {params.seed}"
        " --out {output:q} 2> {log:q}"


rule sweep_heads:
    """Other numbers of experts and penalties, and how well they do on the test videos (optional)."""
    input:
        saliency=saliency_of_all_prompts,
        features=calibration_features,
        segments=segment_labels,
        tests=features_of_annotated_tests,
        probes=probes_of_annotated_tests,
    output:
        "<results>/sweep/{model}.tsv",
    log:
        "<logs>/sweep_heads/{model}.log",
    benchmark:
        "<benchmarks>/sweep_heads/{model}.tsv"
    conda:
        "../envs/light.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        labels=sample_labels,
        counts=config["sweep"]["counts"],
        penalties=config["sweep"]["penalties"],
        kind=config["scorer"]["kind"],
        seed=config["scorer"]["seed"],
        annotations=annotations_of(TEST),
        sheet=config["videos"],
        results=results_folder,
        online=ONLINE,
    shell:
        "hhvad sweep-heads"
        " --saliency {input.saliency:q}"
        " --features {input.features:q}"
        " {params.labels}"
        " --experts-range {params.counts}"
        " --penalty-range {params.penalties}"
        " --kind {params.kind}"
        " --seed {params.seed}"
        " --sheet {params.sheet:q}"
        " --heads-folder {params.results:q}/heads/{wildcards.model:q}/segments/{params.online:q}"
        " --probes-folder {params.results:q}/probe"
        " --out {output:q} 2> {log:q}"
