# HIVAU-70k's questions about the test videos, where the config has a section `hivau`.


rule list_hivau:
    """Turn the questions into frame ranges of their videos; no file is cut."""
    input:
        instructions=HIVAU.instructions,
        annotations=HIVAU.annotations,
    output:
        "<results>/hivau/items.tsv",
    log:
        "<logs>/list_hivau.log",
    benchmark:
        "<benchmarks>/list_hivau.tsv"
    conda:
        "../envs/light.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    shell:
        "hhvad list-hivau"
        " --instructions {input.instructions:q}"
        " --annotations {input.annotations:q}"
        " --out {output:q} 2> {log:q}"


rule answer_hivau:
    """Have the model answer the questions about a video, each with the frames of its range."""
    input:
        questions="<results>/hivau/items.tsv",
        video=video_file,
        probe="<results>/probe/{video}.json",
        scores=scores_for_hivau,
    output:
        "<results>/hivau/{model}/{video}.jsonl",
    log:
        "<logs>/answer_hivau/{model}/{video}.log",
    benchmark:
        "<benchmarks>/answer_hivau/{model}/{video}.tsv"
    conda:
        "../envs/gpu.yaml"
    threads: COMPUTE.threads
    resources:
        gpu=1,
        mem_mb=capture_mb,
        runtime=text_minutes_of_hivau,
    params:
        source=video_path,
        path=lambda wildcards: model_of(wildcards).path,
        revision=lambda wildcards: model_of(wildcards).revision or "",
        dtype=lambda wildcards: model_of(wildcards).dtype,
        checkpoint=lambda wildcards: STAMPS[wildcards.model],
        scores=hivau_scores_flag,
        frames=HIVAU.frames,
        size=lambda wildcards: STUDY.size(wildcards.model),
        mask=mask_flag,
        system=HIVAU.system,
        max_tokens=HIVAU.max_tokens,
        timeout=time_limit,
        compute=compute_flags,
        schema=TEXT_VERSIONS["hivau"],
    shell:
        "hhvad answer-hivau"
        " --items {input.questions:q}"
        " --video {wildcards.video:q}"
        " --path {params.source:q}"
        " --probe {input.probe:q}"
        " {params.scores}"
        " --none-is-fine"
        " --frames {params.frames}"
        " --size {params.size}"
        " {params.mask}"
        " --timeout {params.timeout}"
        " --model {params.path:q}"
        " --model-name {wildcards.model:q}"
        " --revision={params.revision:q}"
        " --dtype {params.dtype}"
        " --batch-size 1"
        " {params.compute}"
        " --threads {threads}"
        " --system={params.system:q}"
        " --max-tokens {params.max_tokens}"
        " --out {output:q} 2> {log:q}"


rule score_texts:
    """Compare the answers with the references, per level and task, with intervals over videos."""
    input:
        questions="<results>/hivau/items.tsv",
        answers=[f"<results>/hivau/{{model}}/{name}.jsonl" for name in TEST],
    output:
        json="<results>/hivau/{model}.json",
        table="<results>/hivau/{model}.tsv",
    log:
        "<logs>/score_texts/{model}.log",
    benchmark:
        "<benchmarks>/score_texts/{model}.tsv"
    conda:
        "../envs/light.yaml"
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        bootstrap=STUDY.config.metrics.bootstrap,
        seed=STUDY.config.metrics.seed,
    shell:
        "hhvad score-texts"
        " --items {input.questions:q}"
        " --answers {input.answers:q}"
        " --bootstrap {params.bootstrap}"
        " --seed {params.seed}"
        " --out {output.json:q}"
        " --table {output.table:q} 2> {log:q}"
