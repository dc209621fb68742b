# The zero-shot encoder: how near pictures are to phrases of anomalies.


rule write_phrases:
    """Write what pictures are compared with."""
    output:
        "<results>/phrases/{method}.jsonl",
    log:
        "<logs>/write_phrases/{method}.log",
    benchmark:
        "<benchmarks>/write_phrases/{method}.tsv"
    wildcard_constraints:
        method=one_of(STUDY.of(ZeroShot)),
    conda:
        "../../envs/light.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        normal=lambda wildcards: STUDY.methods[wildcards.method].phrases.normal,
        anomalous=lambda wildcards: STUDY.methods[wildcards.method].phrases.anomalous,
        schema=TEXT_VERSIONS["phrases"],
    shell:
        "hhvad write-phrases"
        " --normal {params.normal:q}"
        " --anomalous {params.anomalous:q}"
        " --out {output:q} 2> {log:q}"


rule score_zero_shot:
    """Give each frame of the grid the share of anomalous phrases."""
    input:
        frames=frame_vectors,
        vectors=phrase_vectors,
        phrases="<results>/phrases/{method}.jsonl",
        probe="<results>/probe/{video}.json",
    output:
        "<results>/scores/{method}/{video}.tsv",
    log:
        "<logs>/score_zero_shot/{method}/{video}.log",
    benchmark:
        "<benchmarks>/score_zero_shot/{method}/{video}.tsv"
    wildcard_constraints:
        method=one_of(STUDY.of(ZeroShot)),
    conda:
        "../../envs/light.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        stride=lambda wildcards: STUDY.methods[wildcards.method].stride,
        temperature=lambda wildcards: STUDY.methods[wildcards.method].temperature,
    shell:
        "hhvad score-zero-shot"
        " --phrases {input.phrases:q}"
        " --phrase-vectors {input.vectors:q}"
        " --frame-vectors {input.frames:q}"
        " --probe {input.probe:q}"
        " --stride {params.stride}"
        " --temperature {params.temperature}"
        " --out {output:q} 2> {log:q}"
