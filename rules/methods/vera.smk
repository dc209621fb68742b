# VERA: guiding questions to a model about the window around every centre.


rule sample_around:
    """Decode the video once and keep some frames of each window: large, and gone when read."""
    input:
        video=video_file,
        probe="<results>/probe/{video}.json",
    output:
        temp("<scratch>/around/{around}/{reader}/{size}/{video}.h5"),
    log:
        "<logs>/sample_around/{around}/{reader}/{size}/{video}.log",
    benchmark:
        "<benchmarks>/sample_around/{around}/{reader}/{size}/{video}.tsv"
    wildcard_constraints:
        around=one_of(STUDY.methods[name].view for name in STUDY.of(Vera)),
    conda:
        "../../envs/gpu.yaml"
    threads: SAMPLING.threads
    resources:
        mem_mb=2000,
        runtime=sample_minutes,
        disk_mb=around_mb,
    params:
        path=video_path,
        windows=windows_flags,
        size=height_and_width,
        mask=mask_flag,
        schema=SCHEMA_VERSIONS["frames"],
        timeout=time_limit,
    shell:
        "hhvad sample-around"
        " --video {wildcards.video:q}"
        " --path {params.path:q}"
        " --probe {input.probe:q}"
        " {params.windows}"
        " --size {params.size}"
        " {params.mask}"
        " --threads {threads}"
        " --timeout {params.timeout}"
        " --out {output:q} 2> {log:q}"


use rule answer_questions as answer_guided with:
    # 0 or 1, with the guiding questions in mind, about each window.
    input:
        frames=windows_around,
        guide=guide_file,
        probe="<results>/probe/{video}.json",
    log:
        "<logs>/answer_guided/{model}/{method}/{video}.log",
    benchmark:
        "<benchmarks>/answer_guided/{model}/{method}/{video}.tsv"
    wildcard_constraints:
        method=one_of(STUDY.of(Vera)),
    resources:
        gpu=1,
        mem_mb=capture_mb,
        runtime=guided_minutes,
    params:
        path=lambda wildcards: model_of(wildcards).path,
        revision=lambda wildcards: model_of(wildcards).revision or "",
        dtype=lambda wildcards: model_of(wildcards).dtype,
        checkpoint=lambda wildcards: STAMPS[wildcards.model],
        batch_size=lambda wildcards: model_of(wildcards).batch_size,
        questions=guided_question,
        system=lambda wildcards: STUDY.guides[wildcards.method].system,
        frames=guided_shape,
        rest=rest_flags,
        compute=compute_flags,
        schema=SCHEMA_VERSIONS["logprobs"],


rule learn_questions:
    """Have the model write better guiding questions; those that serve validation best stay."""
    input:
        start=lambda wildcards: vera(wildcards).questions,
        training=frames_to_learn_from(CALIBRATION),
        validation=frames_to_learn_from(VALIDATION),
    output:
        questions="<results>/questions/{method}.yaml",
        table="<results>/questions/{method}.tsv",
    log:
        "<logs>/learn_questions/{method}.log",
    benchmark:
        "<benchmarks>/learn_questions/{method}.tsv"
    wildcard_constraints:
        method=one_of(name for name in STUDY.of(Vera) if STUDY.methods[name].learn),
    conda:
        "../../envs/gpu.yaml"
    threads: COMPUTE.threads
    resources:
        gpu=1,
        mem_mb=lambda wildcards, attempt: attempt * 8000,
        runtime=240,
    params:
        path=lambda wildcards: STUDY.models[vera(wildcards).model].path,
        name=lambda wildcards: vera(wildcards).model,
        revision=lambda wildcards: STUDY.models[vera(wildcards).model].revision or "",
        dtype=lambda wildcards: STUDY.models[vera(wildcards).model].dtype,
        batch_size=lambda wildcards: STUDY.models[vera(wildcards).model].batch_size,
        labels=[STUDY.videos[name].label for name in CALIBRATION],
        validation=[STUDY.videos[name].label for name in VALIDATION],
        steps=lambda wildcards: vera(wildcards).learn.steps,
        seed=lambda wildcards: vera(wildcards).learn.seed,
        tokens=lambda wildcards: vera(wildcards).learn.max_tokens,
        key=learnt_from,
        # No output: Snakemake would delete it before an interrupted job goes on.
        journal=lambda wildcards, output: f"{output.table}.steps.jsonl",
        compute=lambda wildcards, output: flags_of_compute(vera(wildcards).model),
    shell:
        "hhvad learn-questions"
        " --start {input.start:q}"
        " --training {input.training:q}"
        " --training-labels {params.labels:q}"
        " --validation {input.validation:q}"
        " --validation-labels {params.validation:q}"
        " --model {params.path:q}"
        " --model-name {params.name:q}"
        " --revision={params.revision:q}"
        " --dtype {params.dtype}"
        " --batch-size {params.batch_size}"
        " {params.compute}"
        " --threads {threads}"
        " --steps {params.steps}"
        " --seed {params.seed}"
        " --max-tokens {params.tokens}"
        " --key {params.key}"
        " --journal {params.journal:q}"
        " --out {output.questions:q}"
        " --table {output.table:q} > {log:q} 2>&1"


rule score_vera:
    """Give each window the probability of 1, corrected by similar windows and smoothed."""
    input:
        answers=guided_answers,
        frames=vectors_of_alike,
        probe="<results>/probe/{video}.json",
    output:
        "<results>/scores/{method}/{video}.tsv",
    log:
        "<logs>/score_vera/{method}/{video}.log",
    benchmark:
        "<benchmarks>/score_vera/{method}/{video}.tsv"
    wildcard_constraints:
        method=one_of(STUDY.of(Vera)),
    conda:
        "../../envs/light.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        how=score_flags,
        alike=alike_flag,
    shell:
        "hhvad score-vera"
        " --answers {input.answers:q}"
        " --probe {input.probe:q}"
        " {params.how}"
        " {params.alike}"
        " --out {output:q} 2> {log:q}"
