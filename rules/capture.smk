# One forward pass of the frozen model over [frames, prompt]; what its attention heads say is kept.


rule capture_heads:
    """Capture every head's output at the last prompt position: one artifact a (video, prompt)."""
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
    threads: config["capture"]["threads"]
    resources:
        gpu=1,
        mem_mb=capture_mb,
        runtime=capture_minutes,
    params:
        path=config["model"]["path"],
        model=MODEL_FLAGS,
        checkpoint=CHECKPOINT,
        text=prompt_text,
        siblings=siblings,
        heads=wanted_heads,
        sampling=SAMPLING,
        engine=engine,
        schema=SCHEMA_VERSIONS["features"],
    shell:
        "hhvad capture-heads"
        " --frames {input.frames:q}"
        " --model {params.path:q}"
        " --model-name {wildcards.model:q}"
        " {params.model}"
        " --prompt-id {wildcards.prompt:q}"
        " --prompt {params.text:q}"
        " {params.siblings}"
        " --heads {params.heads:q}"
        " {params.engine}"
        " --threads {threads}"
        " --out {output:q} 2> {log:q}"
