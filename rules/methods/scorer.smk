# A trained scorer on class vectors of frames: the UR-DMU head of Holmes-VAU.


rule train_scorer:
    """Train the head on labelled calibration videos: a reconstruction. It goes on if interrupted."""
    input:
        vectors=vectors_to_train_on,
    output:
        weights="<results>/trained/{method}.safetensors",
        table="<results>/trained/{method}.tsv",
    log:
        "<logs>/train_scorer/{method}.log",
    benchmark:
        "<benchmarks>/train_scorer/{method}.tsv"
    wildcard_constraints:
        method=one_of(name for name in STUDY.of(Scorer) if STUDY.methods[name].train),
    conda:
        "../../envs/gpu.yaml"
    threads: COMPUTE.threads
    resources:
        mem_mb=4000,
        runtime=600,
    params:
        labels=[STUDY.videos[name].label for name in CALIBRATION],
        how=how_to_train,
        # No output: Snakemake would delete it before an interrupted job goes on.
        state=lambda wildcards, output: f"{output.weights}.state",
    shell:
        "hhvad train-scorer"
        " --vectors {input.vectors:q}"
        " --labels {params.labels:q}"
        " {params.how}"
        " --threads {threads}"
        " --state {params.state:q}"
        " --out {output.weights:q}"
        " --table {output.table:q} 2> {log:q}"


rule score_vectors:
    """Score each frame of the grid by a trained head on its class vector."""
    input:
        vectors=class_vectors,
        weights=weights_of_scorer,
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
