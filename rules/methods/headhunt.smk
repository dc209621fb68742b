# HeadHunt-VAD: Robust Head Identification and the scorer, from captures of the calibration videos.


rule score_saliency:
    """Measure how well each head separates normal from anomalous videos under one prompt."""
    input:
        features=calibration_features,
        segments=segment_labels,
    output:
        "<results>/saliency/{method}/{prompt}.h5",
    log:
        "<logs>/score_saliency/{method}/{prompt}.log",
    benchmark:
        "<benchmarks>/score_saliency/{method}/{prompt}.tsv"
    wildcard_constraints:
        method=one_of(STUDY.wordings),
    conda:
        "../../envs/light.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        labels=sample_labels,
        metrics=lambda wildcards: settings(wildcards).saliency.metrics,
        shrinkage=lambda wildcards: settings(wildcards).saliency.shrinkage,
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
        experts="<results>/experts/{method}.h5",
        table="<results>/experts/{method}.tsv",
    log:
        "<logs>/identify_heads/{method}.log",
    benchmark:
        "<benchmarks>/identify_heads/{method}.tsv"
    wildcard_constraints:
        method=one_of(STUDY.wordings),
    conda:
        "../../envs/light.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        experts=lambda wildcards: settings(wildcards).experts.count,
        penalty=lambda wildcards: settings(wildcards).experts.penalty,
        bootstrap=lambda wildcards: settings(wildcards).experts.bootstrap,
        seed=lambda wildcards: settings(wildcards).experts.seed,
        labels=sample_labels,
        schema=SCHEMA_VERSIONS["experts"],
    shell:
        "hhvad identify-heads"
        " --saliency {input.saliency:q}"
        " --features {input.features:q}"
        " {params.labels}"
        " --count {params.experts}"
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
        experts="<results>/experts/{method}.h5",
    output:
        "<results>/scorer/{method}.h5",
    log:
        "<logs>/fit_scorer/{method}.log",
    benchmark:
        "<benchmarks>/fit_scorer/{method}.tsv"
    wildcard_constraints:
        method=one_of(STUDY.wordings),
    conda:
        "../../envs/light.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        labels=sample_labels,
        kind=lambda wildcards: settings(wildcards).scorer.kind,
        seed=lambda wildcards: settings(wildcards).scorer.seed,
        share=lambda wildcards: settings(wildcards).scorer.share,
        schema=SCHEMA_VERSIONS["scorer"],
    shell:
        "hhvad fit-scorer"
        " --features {input.features:q}"
        " {params.labels}"
        " --experts {input.experts:q}"
        " --kind {params.kind}"
        " --seed {params.seed}"
        " --share {params.share}"
        " --out {output:q} 2> {log:q}"


rule score_headhunt:
    """Give each segment its probability of being anomalous."""
    input:
        features=online_features,
        scorer=scorer_of,
    output:
        "<results>/scores/{method}/{video}.tsv",
    log:
        "<logs>/score_headhunt/{method}/{video}.log",
    benchmark:
        "<benchmarks>/score_headhunt/{method}/{video}.tsv"
    wildcard_constraints:
        method=one_of(HEADHUNTS),
    conda:
        "../../envs/light.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    shell:
        "hhvad score-headhunt"
        " --features {input.features:q}"
        " --scorer {input.scorer:q}"
        " --out {output:q} 2> {log:q}"


rule pack_detector:
    """Put experts, scorer and locator into one file: all that is needed to judge a new video."""
    input:
        scorer="<results>/scorer/{method}.h5",
        locator="<results>/locator/{method}.json",
    output:
        "<results>/detector/{method}.h5",
    log:
        "<logs>/pack_detector/{method}.log",
    benchmark:
        "<benchmarks>/pack_detector/{method}.tsv"
    wildcard_constraints:
        method=one_of(STUDY.wordings),
    conda:
        "../../envs/light.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        masks=masks_flag,
        mask=STUDY.masks,
        schema=SCHEMA_VERSIONS["detector"],
    shell:
        "hhvad pack-detector"
        " --scorer {input.scorer:q}"
        " --locator {input.locator:q}"
        " {params.masks}"
        " --out {output:q} 2> {log:q}"


rule unpack_locator:
    """Take the locator out of a frozen detector."""
    input:
        scorer_of,
    output:
        "<results>/locator/{method}.json",
    log:
        "<logs>/unpack_locator/{method}.log",
    benchmark:
        "<benchmarks>/unpack_locator/{method}.tsv"
    wildcard_constraints:
        method=one_of(m for m in STUDY.frozen if m not in STUDY.budgeted),
    conda:
        "../../envs/light.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    shell:
        "hhvad unpack-locator" " --detector {input:q}" " --out {output:q} 2> {log:q}"


rule plot_heads:
    """Draw the RSS of every head, each prompt's saliency, and how far the prompts agree."""
    input:
        experts="<results>/experts/{method}.h5",
    output:
        rss=report(
            "<results>/figures/{method}/rss.svg",
            caption="../../workflow/report/rss.rst",
            category="Heads",
            labels={"method": "{method}", "figure": "RSS map"},
        ),
        saliency=report(
            "<results>/figures/{method}/saliency.svg",
            caption="../../workflow/report/saliency.rst",
            category="Heads",
            labels={"method": "{method}", "figure": "saliency per prompt"},
        ),
        agreement=report(
            "<results>/figures/{method}/agreement.svg",
            caption="../../workflow/report/agreement.rst",
            category="Heads",
            labels={"method": "{method}", "figure": "agreement between prompts"},
        ),
    log:
        "<logs>/plot_heads/{method}.log",
    benchmark:
        "<benchmarks>/plot_heads/{method}.tsv"
    wildcard_constraints:
        method=one_of(STUDY.wordings),
    conda:
        "../../envs/light.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    shell:
        "hhvad plot-heads"
        " --experts {input.experts:q}"
        " --out-rss {output.rss:q}"
        " --out-saliency {output.saliency:q}"
        " --out-agreement {output.agreement:q} 2> {log:q}"


rule plot_features:
    """Project the experts' features to a plane, beside those of the whole last layer."""
    input:
        features=calibration_features,
        segments=segment_labels,
        experts="<results>/experts/{method}.h5",
    output:
        report(
            "<results>/figures/{method}/features.svg",
            caption="../../workflow/report/features.rst",
            category="Heads",
            labels={"method": "{method}", "figure": "projection of features"},
        ),
    log:
        "<logs>/plot_features/{method}.log",
    benchmark:
        "<benchmarks>/plot_features/{method}.tsv"
    wildcard_constraints:
        method=one_of(STUDY.wordings),
    conda:
        "../../envs/light.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        labels=sample_labels,
    shell:
        "hhvad plot-features"
        " --features {input.features:q}"
        " {params.labels}"
        " --experts {input.experts:q}"
        " --out {output:q} 2> {log:q}"
