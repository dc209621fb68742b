# A trained scorer on class vectors of frames: the UR-DMU head of Holmes-VAU.


rule score_vectors:
    """Score each frame of the grid by a trained head on its class vector."""
    input:
        vectors=class_vectors,
        weights=lambda wildcards: STUDY.methods[wildcards.method].weights,
        probe="<results>/probe/{video}.json",
    output:
        "<results>/scores/{method}/{video}.tsv",
    log:
        "<logs>/score_vectors/{method}/{video}.log",
    benchmark:
        "<benchmarks>/score_vectors/{method}/{video}.tsv"
    wildcard_constraints:
        method=one_of(STUDY.of(Scorer)),
    conda:
        "../../envs/light.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        stride=lambda wildcards: STUDY.methods[wildcards.method].stride,
    shell:
        "hhvad score-vectors"
        " --vectors {input.vectors:q}"
        " --weights {input.weights:q}"
        " --probe {input.probe:q}"
        " --stride {params.stride}"
        " --out {output:q} 2> {log:q}"
