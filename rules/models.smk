# What models are asked: one forward pass over [frames, prompt]; what its attention heads say is kept.


rule capture_heads:
    """Capture every head's output at the last prompt position: one artifact per video and prompt."""
    input:
        # Frames of segments are temporary. What they depend on makes the capture stale: the video
        # through its probe, the sampling through params.
        frames=frames_file,
        probe="<results>/probe/{video}.json",
    output:
        "<results>/heads/{model}/{view}/{prompt}/{video}.h5",
    log:
        "<logs>/capture_heads/{model}/{view}/{prompt}/{video}.log",
    benchmark:
        "<benchmarks>/capture_heads/{model}/{view}/{prompt}/{video}.tsv"
    conda:
        "../envs/gpu.yaml"
    threads: COMPUTE.threads
    resources:
        gpu=1,
        mem_mb=capture_mb,
        runtime=capture_minutes,
    params:
        path=lambda wildcards: model_of(wildcards).path,
        revision=lambda wildcards: model_of(wildcards).revision or "",
        dtype=lambda wildcards: model_of(wildcards).dtype,
        checkpoint=lambda wildcards: STAMPS[wildcards.model],
        text=lambda wildcards: prompt_of(wildcards).text,
        system=lambda wildcards: prompt_of(wildcards).system,
        siblings=siblings,
        heads=wanted_heads,
        frames=frames_shape,
        compute=compute_flags,
        schema=SCHEMA_VERSIONS["features"],
    shell:
        "hhvad capture-heads"
        " --frames {input.frames:q}"
        " --model {params.path:q}"
        " --model-name {wildcards.model:q}"
        " --revision={params.revision:q}"
        " --dtype {params.dtype}"
        " --prompt-id {wildcards.prompt:q}"
        " --prompt={params.text:q}"
        " --system={params.system:q}"
        " {params.siblings}"
        " --heads {params.heads:q}"
        " {params.compute}"
        " --threads {threads}"
        " --out {output:q} 2> {log:q}"
