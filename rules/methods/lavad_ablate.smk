# What each step of LAVAD is worth: `snakemake results/STUDY/ablations/METHOD.tsv`; never part of all.


rule raw_captions:
    """Give each window its captions as the first captioner wrote them."""
    input:
        cleaned="<results>/cleaned/{method}/{video}.jsonl",
        captions=lambda wildcards: captions_of_captioners(wildcards)[0],
    output:
        "<results>/ablations/{method}/raw/{video}.jsonl",
    log:
        "<logs>/raw_captions/{method}/{video}.log",
    benchmark:
        "<benchmarks>/raw_captions/{method}/{video}.tsv"
    wildcard_constraints:
        method=one_of(STUDY.of(Lavad)),
    conda:
        "../../envs/light.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        schema=TEXT_VERSIONS["cleaned"],
    shell:
        "hhvad raw-captions"
        " --cleaned {input.cleaned:q}"
        " --captions {input.captions:q}"
        " --out {output:q} 2> {log:q}"


rule list_captions:
    """Take each cleaned caption of a window for a summary of its own."""
    input:
        "<results>/cleaned/{method}/{video}.jsonl",
    output:
        "<results>/ablations/{method}/captions/{video}.jsonl",
    log:
        "<logs>/list_captions/{method}/{video}.log",
    benchmark:
        "<benchmarks>/list_captions/{method}/{video}.tsv"
    wildcard_constraints:
        method=one_of(STUDY.of(Lavad)),
    conda:
        "../../envs/light.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        schema=TEXT_VERSIONS["summaries"],
    shell:
        "hhvad list-captions" " --cleaned {input:q}" " --out {output:q} 2> {log:q}"


use rule ask_summaries as ask_raw_summaries with:
    input:
        "<results>/ablations/{method}/raw/{video}.jsonl",
    output:
        "<results>/requests/{method}/raw-summary/{video}.jsonl",
    log:
        "<logs>/ask_raw_summaries/{method}/{video}.log",
    benchmark:
        "<benchmarks>/ask_raw_summaries/{method}/{video}.tsv"


use rule read_summaries as read_raw_summaries with:
    input:
        cleaned="<results>/ablations/{method}/raw/{video}.jsonl",
        answers=answers_to("raw-summary"),
    output:
        "<results>/ablations/{method}/raw-summaries/{video}.jsonl",
    log:
        "<logs>/read_raw_summaries/{method}/{video}.log",
    benchmark:
        "<benchmarks>/read_raw_summaries/{method}/{video}.tsv"


use rule ask_ratings as ask_raw_ratings with:
    input:
        "<results>/ablations/{method}/raw-summaries/{video}.jsonl",
    output:
        "<results>/requests/{method}/raw-rating/{video}.jsonl",
    log:
        "<logs>/ask_raw_ratings/{method}/{video}.log",
    benchmark:
        "<benchmarks>/ask_raw_ratings/{method}/{video}.tsv"


use rule read_ratings as read_raw_ratings with:
    input:
        summaries="<results>/ablations/{method}/raw-summaries/{video}.jsonl",
        answers=answers_to("raw-rating"),
    output:
        ratings="<results>/ablations/{method}/raw-ratings/{video}.tsv",
        counts="<results>/ablations/{method}/raw-ratings/{video}.json",
    log:
        "<logs>/read_raw_ratings/{method}/{video}.log",
    benchmark:
        "<benchmarks>/read_raw_ratings/{method}/{video}.tsv"


use rule ask_ratings as ask_caption_ratings with:
    input:
        "<results>/ablations/{method}/captions/{video}.jsonl",
    output:
        "<results>/requests/{method}/caption-rating/{video}.jsonl",
    log:
        "<logs>/ask_caption_ratings/{method}/{video}.log",
    benchmark:
        "<benchmarks>/ask_caption_ratings/{method}/{video}.tsv"


use rule read_ratings as read_caption_ratings with:
    input:
        summaries="<results>/ablations/{method}/captions/{video}.jsonl",
        answers=answers_to("caption-rating"),
    output:
        ratings="<results>/ablations/{method}/caption-ratings/{video}.tsv",
        counts="<results>/ablations/{method}/caption-ratings/{video}.json",
    log:
        "<logs>/read_caption_ratings/{method}/{video}.log",
    benchmark:
        "<benchmarks>/read_caption_ratings/{method}/{video}.tsv"


rule score_ablations:
    """Score a video by every variant of the method."""
    input:
        ratings="<results>/ratings/{method}/{video}.tsv",
        raw="<results>/ablations/{method}/raw-ratings/{video}.tsv",
        captions="<results>/ablations/{method}/caption-ratings/{video}.tsv",
        cleaned="<results>/cleaned/{method}/{video}.jsonl",
        frames=frame_vectors,
        summaries=vectors_of_summaries,
        probe="<results>/probe/{video}.json",
    output:
        "<results>/ablations/{method}/scores/{video}.tsv",
    log:
        "<logs>/score_ablations/{method}/{video}.log",
    benchmark:
        "<benchmarks>/score_ablations/{method}/{video}.tsv"
    wildcard_constraints:
        method=one_of(STUDY.of(Lavad)),
    conda:
        "../../envs/light.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        stride=lambda wildcards: lavad(wildcards).stride,
        vector=lambda wildcards: lavad(wildcards).window.vector,
        share=lambda wildcards: lavad(wildcards).neighbours.share,
    shell:
        "hhvad score-ablations"
        " --ratings {input.ratings:q}"
        " --raw-ratings {input.raw:q}"
        " --caption-ratings {input.captions:q}"
        " --cleaned {input.cleaned:q}"
        " --frame-vectors {input.frames:q}"
        " --summary-vectors {input.summaries:q}"
        " --probe {input.probe:q}"
        " --stride {params.stride}"
        " --window-vector {params.vector}"
        " --share {params.share}"
        " --out {output:q} 2> {log:q}"


rule ablate_lavad:
    """Judge every variant on the annotated test videos."""
    input:
        lambda wildcards: [
            f"<results>/ablations/{wildcards.method}/scores/{name}.tsv"
            for name in STUDY.annotated
        ],
    output:
        "<results>/ablations/{method}.tsv",
    log:
        "<logs>/ablate_lavad/{method}.log",
    benchmark:
        "<benchmarks>/ablate_lavad/{method}.tsv"
    wildcard_constraints:
        method=one_of(STUDY.of(Lavad)),
    conda:
        "../../envs/light.yaml"
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        annotations=STUDY.annotation(TEST),
        sheet=SHEET,
        results=results_folder,
        interval=STUDY.config.metrics.interval,
    shell:
        "hhvad ablate-lavad"
        " --sheet {params.sheet:q}"
        " --scores-folder {params.results:q}/ablations/{wildcards.method:q}/scores"
        " --probes-folder {params.results:q}/probe"
        " --interval {params.interval}"
        " --out {output:q} 2> {log:q}"
