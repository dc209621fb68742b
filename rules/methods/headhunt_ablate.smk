# What each part of HeadHunt is worth; never part of all:
#   snakemake results/STUDY/ablations/METHOD.tsv           the table
#   snakemake results/STUDY/ablations/METHOD/oracle.tsv    each prompt used alone, and the best one


rule fit_variants:
    """Fit every variant of the method to the calibration videos."""
    input:
        saliency=saliency_of_all_prompts,
        features=calibration_features,
        segments=segment_labels,
    output:
        "<results>/ablations/{method}/variants.h5",
    log:
        "<logs>/fit_variants/{method}.log",
    benchmark:
        "<benchmarks>/fit_variants/{method}.tsv"
    wildcard_constraints:
        method=one_of(STUDY.wordings),
    conda:
        "../../envs/light.yaml"
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        oracle="",
        labels=sample_labels,
        online=lambda wildcards: STUDY.online(wildcards.method),
        experts=lambda wildcards: settings(wildcards).experts.count,
        penalty=lambda wildcards: settings(wildcards).experts.penalty,
        counts=lambda wildcards: settings(wildcards).sweep.counts,
        penalties=lambda wildcards: settings(wildcards).sweep.penalties,
        kind=lambda wildcards: settings(wildcards).scorer.kind,
        seed=lambda wildcards: settings(wildcards).scorer.seed,
        share=lambda wildcards: settings(wildcards).scorer.share,
        schema=SCHEMA_VERSIONS["variants"],
    shell:
        "hhvad fit-variants"
        " --saliency {input.saliency:q}"
        " --features {input.features:q}"
        " {params.labels}"
        " --online {params.online:q}"
        " {params.oracle}"
        " --count {params.experts}"
        " --penalty {params.penalty}"
        " --counts {params.counts}"
        " --penalties {params.penalties}"
        " --kind {params.kind}"
        " --seed {params.seed}"
        " --share {params.share}"
        " --out {output:q} 2> {log:q}"


rule score_variants:
    """Score a video by every variant, from one reading of its features."""
    input:
        variants="<results>/ablations/{method}/variants.h5",
        features=online_features,
    output:
        "<results>/ablations/{method}/scores/{video}.tsv",
    log:
        "<logs>/score_variants/{method}/{video}.log",
    benchmark:
        "<benchmarks>/score_variants/{method}/{video}.tsv"
    wildcard_constraints:
        method=one_of(STUDY.wordings),
    conda:
        "../../envs/light.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    shell:
        "hhvad score-variants"
        " --variants {input.variants:q}"
        " --features {input.features:q}"
        " --out {output:q} 2> {log:q}"


rule ablate_headhunt:
    """Judge every variant on the annotated test videos."""
    input:
        variants="<results>/ablations/{method}/variants.h5",
        locator="<results>/locator/{method}.json",
        probes=probes_of(STUDY.annotated),
        scores=lambda wildcards: [
            f"<results>/ablations/{wildcards.method}/scores/{name}.tsv"
            for name in STUDY.annotated
        ],
    output:
        table="<results>/ablations/{method}.tsv",
        json="<results>/ablations/{method}.json",
        markdown="<results>/ablations/{method}.md",
        sweep="<results>/ablations/{method}/sweep.svg",
    log:
        "<logs>/ablate_headhunt/{method}.log",
    benchmark:
        "<benchmarks>/ablate_headhunt/{method}.tsv"
    wildcard_constraints:
        method=one_of(STUDY.wordings),
    conda:
        "../../envs/light.yaml"
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        annotations=STUDY.annotation(TEST),
        sheet=SHEET,
        results=results_folder,
        folder="scores",
        sweep=sweep_flag,
        interval=STUDY.config.metrics.interval,
        bootstrap=STUDY.config.metrics.bootstrap,
        seed=STUDY.config.metrics.seed,
    shell:
        "hhvad ablate-headhunt"
        " --variants {input.variants:q}"
        " --locator {input.locator:q}"
        " --sheet {params.sheet:q}"
        " --scores-folder {params.results:q}/ablations/{wildcards.method:q}/{params.folder}"
        " --probes-folder {params.results:q}/probe"
        " --interval {params.interval}"
        " --bootstrap {params.bootstrap}"
        " --seed {params.seed}"
        " --out {output.table:q}"
        " --json {output.json:q}"
        " --markdown {output.markdown:q}"
        " {params.sweep} 2> {log:q}"


use rule fit_variants as fit_each_prompt with:
    input:
        saliency=saliency_of_all_prompts,
        features=features_of_all_prompts,
        segments=segment_labels,
    output:
        "<results>/ablations/{method}/oracle/variants.h5",
    log:
        "<logs>/fit_each_prompt/{method}.log",
    benchmark:
        "<benchmarks>/fit_each_prompt/{method}.tsv"
    params:
        oracle="--oracle",


use rule score_variants as score_each_prompt with:
    input:
        variants="<results>/ablations/{method}/oracle/variants.h5",
        features=online_features_of_all_prompts,
    output:
        "<results>/ablations/{method}/oracle/scores/{video}.tsv",
    log:
        "<logs>/score_each_prompt/{method}/{video}.log",
    benchmark:
        "<benchmarks>/score_each_prompt/{method}/{video}.tsv"


use rule ablate_headhunt as choose_oracle with:
    # Find the best prompt by the labels of the test videos: an upper bound, flagged as such.
    input:
        variants="<results>/ablations/{method}/oracle/variants.h5",
        locator="<results>/locator/{method}.json",
        probes=probes_of(STUDY.annotated),
        scores=lambda wildcards: [
            f"<results>/ablations/{wildcards.method}/oracle/scores/{name}.tsv"
            for name in STUDY.annotated
        ],
    output:
        table="<results>/ablations/{method}/oracle.tsv",
        json="<results>/ablations/{method}/oracle.json",
        markdown="<results>/ablations/{method}/oracle.md",
    log:
        "<logs>/choose_oracle/{method}.log",
    benchmark:
        "<benchmarks>/choose_oracle/{method}.tsv"
    params:
        folder="oracle/scores",
