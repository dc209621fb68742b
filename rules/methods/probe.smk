# Probe-VAD: how likely a model says yes to whether something is anomalous.


rule answer_questions:
    """Weigh no and yes as answers to the questions about each segment."""
    input:
        frames=probed_frames,
        probe="<results>/probe/{video}.json",
    output:
        "<results>/logprobs/{model}/{method}/{video}.h5",
    log:
        "<logs>/answer_questions/{model}/{method}/{video}.log",
    benchmark:
        "<benchmarks>/answer_questions/{model}/{method}/{video}.tsv"
    wildcard_constraints:
        method=one_of(STUDY.of(Probe)),
    conda:
        "../../envs/gpu.yaml"
    threads: COMPUTE.threads
    resources:
        gpu=1,
        mem_mb=capture_mb,
        runtime=text_minutes,
    params:
        path=lambda wildcards: model_of(wildcards).path,
        revision=lambda wildcards: model_of(wildcards).revision or "",
        dtype=lambda wildcards: model_of(wildcards).dtype,
        checkpoint=lambda wildcards: STAMPS[wildcards.model],
        batch_size=lambda wildcards: model_of(wildcards).batch_size,
        questions=question_flags,
        system=lambda wildcards: probe(wildcards).system,
        frames=frames_shape,
        rest=rest_flags,
        compute=compute_flags,
        schema=SCHEMA_VERSIONS["logprobs"],
    shell:
        "hhvad answer-questions"
        " --frames {input.frames:q}"
        " --probe {input.probe:q}"
        " {params.rest}"
        " --model {params.path:q}"
        " --model-name {wildcards.model:q}"
        " --revision={params.revision:q}"
        " --dtype {params.dtype}"
        " {params.questions}"
        " --system={params.system:q}"
        " --batch-size {params.batch_size}"
        " {params.compute}"
        " --threads {threads}"
        " --out {output:q} 2> {log:q}"


rule score_probe:
    """Give each segment the mean probability of yes."""
    input:
        probabilities,
    output:
        "<results>/scores/{method}/{video}.tsv",
    log:
        "<logs>/score_probe/{method}/{video}.log",
    benchmark:
        "<benchmarks>/score_probe/{method}/{video}.tsv"
    wildcard_constraints:
        method=one_of(STUDY.of(Probe)),
    conda:
        "../../envs/light.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        sigma=sigma_flag,
    shell:
        "hhvad score-probe"
        " --answers {input:q}"
        " {params.sigma}"
        " --out {output:q} 2> {log:q}"
