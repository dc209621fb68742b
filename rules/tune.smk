# A model tuned on answers about calibration videos: `snakemake tune`, in no default target, since
# what hhvad is for needs no training.


rule list_lessons:
    """Collect what the model is to learn from, nothing of it about videos that judge it."""
    input:
        instructions=TUNE.instructions or [],
        annotations=TUNE.annotations,
        lessons=TUNE.lessons,
        probes=probes_of([*CALIBRATION, *VALIDATION, *TEST]),
    output:
        "<results>/tuned/lessons.tsv",
    log:
        "<logs>/list_lessons.log",
    benchmark:
        "<benchmarks>/list_lessons.tsv"
    conda:
        "../envs/light.yaml"
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        questions=questions_to_learn,
        sheet=SHEET,
        results=results_folder,
    shell:
        "hhvad list-lessons"
        " {params.questions}"
        " --sheet {params.sheet:q}"
        " --probes-folder {params.results:q}/probe"
        " --out {output:q} 2> {log:q}"


rule sample_lessons:
    """Decode a video once and keep frames of each range that is asked about, until it is learnt."""
    input:
        lessons="<results>/tuned/lessons.tsv",
        video=video_file,
        probe="<results>/probe/{video}.json",
    output:
        temp("<scratch>/lessons/{size}/{video}.h5"),
    log:
        "<logs>/sample_lessons/{size}/{video}.log",
    benchmark:
        "<benchmarks>/sample_lessons/{size}/{video}.tsv"
    wildcard_constraints:
        video=one_of(CALIBRATION),
    conda:
        "../envs/gpu.yaml"
    threads: SAMPLING.threads
    resources:
        mem_mb=2000,
        runtime=sample_minutes,
    params:
        path=video_path,
        frames=TUNE.frames,
        size=height_and_width,
        mask=mask_flag,
        schema=SCHEMA_VERSIONS["frames"],
        timeout=time_limit,
    shell:
        "hhvad sample-lessons"
        " --lessons {input.lessons:q}"
        " --video {wildcards.video:q}"
        " --path {params.path:q}"
        " --probe {input.probe:q}"
        " --frames {params.frames}"
        " --size {params.size}"
        " {params.mask}"
        " --threads {threads}"
        " --timeout {params.timeout}"
        " --out {output:q} 2> {log:q}"


rule tune_lora:
    """Learn a low-rank adapter for the decoder; an interrupted job goes on where it was."""
    input:
        lessons="<results>/tuned/lessons.tsv",
        frames=[
            f"<scratch>/lessons/{STUDY.size_name(TUNE.model)}/{name}.h5"
            for name in CALIBRATION
        ],
    output:
        directory("<results>/tuned/adapter"),
    log:
        "<logs>/tune_lora.log",
    benchmark:
        "<benchmarks>/tune_lora.tsv"
    conda:
        "../envs/tune.yaml"
    threads: COMPUTE.threads
    resources:
        gpu=1,
        mem_mb=tune_mb,
        runtime=lambda wildcards, attempt: attempt * 1440,
    params:
        model=model_to_tune,
        name=TUNE.model,
        dtype=TUNED.dtype,
        checkpoint=STAMPS[TUNE.model],
        system=TUNE.system,
        rank=TUNE.rank,
        alpha=TUNE.alpha,
        dropout=TUNE.dropout,
        rate=TUNE.rate,
        warmup=TUNE.warmup,
        decay=TUNE.decay,
        batch=TUNE.batch,
        epochs=TUNE.epochs,
        seed=TUNE.seed,
        device=COMPUTE.device,
        # No output: Snakemake would delete it before an interrupted job goes on.
        state=lambda wildcards, output: f"{output}.state",
    shell:
        "hhvad tune-lora"
        " --lessons {input.lessons:q}"
        " --frames {input.frames:q}"
        " {params.model}"
        " --model-name {params.name:q}"
        " --dtype {params.dtype}"
        " --device {params.device}"
        " --threads {threads}"
        " --system={params.system:q}"
        " --rank {params.rank}"
        " --alpha {params.alpha}"
        " --dropout {params.dropout}"
        " --rate {params.rate}"
        " --warmup {params.warmup}"
        " --decay {params.decay}"
        " --lessons-a-step {params.batch}"
        " --epochs {params.epochs}"
        " --seed {params.seed}"
        " --state {params.state:q}"
        " --out {output:q} 2> {log:q}"


rule merge_lora:
    """Add the adapter to the weights, as a checkpoint of its own."""
    input:
        adapter="<results>/tuned/adapter",
    output:
        directory("<results>/tuned/checkpoint"),
    log:
        "<logs>/merge_lora.log",
    benchmark:
        "<benchmarks>/merge_lora.tsv"
    conda:
        "../envs/tune.yaml"
    threads: 1
    resources:
        mem_mb=tune_mb,
        runtime=60,
    params:
        model=model_to_tune,
        checkpoint=STAMPS[TUNE.model],
    shell:
        "hhvad merge-lora"
        " --adapter {input.adapter:q}"
        " {params.model}"
        " --out {output:q} 2> {log:q}"
