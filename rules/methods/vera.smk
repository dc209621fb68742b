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
    shell:
        "hhvad score-vera"
        " --answers {input.answers:q}"
        " --probe {input.probe:q}"
        " {params.how}"
        " --out {output:q} 2> {log:q}"
