# Sentences beside events, where the config has a section `describe`.


rule sample_focus:
    """Choose the frames of clips, events and the video by a method's scores."""
    input:
        events="<results>/events/{method}/{video}.json",
        scores=scores_of_focus,
        probe="<results>/probe/{video}.json",
    output:
        "<results>/focus/{method}/{video}.tsv",
    log:
        "<logs>/sample_focus/{method}/{video}.log",
    benchmark:
        "<benchmarks>/sample_focus/{method}/{video}.tsv"
    wildcard_constraints:
        method=DESCRIBED,
    conda:
        "../envs/light.yaml"
    resources:
        mem_mb=500,
        runtime=10,
    params:
        frames=lambda wildcards: DESCRIBE.focus.frames,
        floor=lambda wildcards: DESCRIBE.focus.floor.kind,
        value=lambda wildcards: DESCRIBE.focus.floor.value,
        distinct=lambda wildcards: "yes" if DESCRIBE.focus.distinct else "no",
        clip=lambda wildcards: DESCRIBE.clip_seconds,
        margin=lambda wildcards: DESCRIBE.margin_seconds,
        merge=lambda wildcards: DESCRIBE.merge_seconds,
    shell:
        "hhvad sample-focus"
        " --events {input.events:q}"
        " --scores {input.scores:q}"
        " --probe {input.probe:q}"
        " --frames {params.frames}"
        " --floor {params.floor}"
        " --floor-value {params.value}"
        " --distinct {params.distinct}"
        " --clip-seconds {params.clip}"
        " --margin-seconds {params.margin}"
        " --merge-seconds {params.merge}"
        " --out {output:q} 2> {log:q}"


rule sample_clips:
    """Decode the video once, in order, and keep the chosen frames until they are described."""
    input:
        video=video_file,
        probe="<results>/probe/{video}.json",
        focus="<results>/focus/{method}/{video}.tsv",
    output:
        temp("<scratch>/focus/{method}/{size}/{video}.h5"),
    log:
        "<logs>/sample_clips/{method}/{size}/{video}.log",
    benchmark:
        "<benchmarks>/sample_clips/{method}/{size}/{video}.tsv"
    wildcard_constraints:
        method=DESCRIBED,
    conda:
        "../envs/gpu.yaml"
    threads: SAMPLING.threads
    resources:
        mem_mb=2000,
        runtime=sample_minutes,
    params:
        path=video_path,
        size=height_and_width,
        mask=mask_flag,
        schema=SCHEMA_VERSIONS["frames"],
        timeout=time_limit,
    shell:
        "hhvad sample-clips"
        " --video {wildcards.video:q}"
        " --path {params.path:q}"
        " --probe {input.probe:q}"
        " --focus {input.focus:q}"
        " --size {params.size}"
        " {params.mask}"
        " --threads {threads}"
        " --timeout {params.timeout}"
        " --out {output:q} 2> {log:q}"


rule describe_clips:
    """Have the model say in a sentence what happens in each clip of an event."""
    input:
        focus="<results>/focus/{method}/{video}.tsv",
        frames=frames_of_focus,
    output:
        "<results>/descriptions/{method}/clips/{video}.jsonl",
    log:
        "<logs>/describe_clips/{method}/{video}.log",
    benchmark:
        "<benchmarks>/describe_clips/{method}/{video}.tsv"
    wildcard_constraints:
        method=DESCRIBED,
    conda:
        "../envs/gpu.yaml"
    threads: COMPUTE.threads
    resources:
        gpu=1,
        mem_mb=describe_mb,
        runtime=describe_minutes,
    params:
        model=lambda wildcards: model_flags(DESCRIBE.model),
        checkpoint=lambda wildcards: STAMPS[DESCRIBE.model],
        hierarchy=lambda wildcards: DESCRIBE.hierarchy,
        mask=mask_flag,  # of the frames, which are temporary
        clip=lambda wildcards: DESCRIBE.questions.clip,
        system=lambda wildcards: DESCRIBE.system,
        max_tokens=lambda wildcards: DESCRIBE.max_tokens,
        compute=looking_flags,
        kept=kept_answers("clips"),
        schema=TEXT_VERSIONS["descriptions"],
    shell:
        "hhvad describe-clips"
        " --focus {input.focus:q}"
        " --frames {input.frames:q}"
        " --hierarchy {params.hierarchy}"
        " --clip={params.clip:q}"
        " --system={params.system:q}"
        " --max-tokens {params.max_tokens}"
        " {params.model}"
        " --batch-size 1"
        " {params.compute}"
        " --threads {threads}"
        " --kept {params.kept:q}"
        " --out {output:q} 2> {log:q}"


rule describe_events:
    """Have the model judge, describe and explain each event."""
    input:
        focus="<results>/focus/{method}/{video}.tsv",
        frames=frames_of_focus,
        lower=["<results>/descriptions/{method}/clips/{video}.jsonl"],
    output:
        "<results>/descriptions/{method}/events/{video}.jsonl",
    log:
        "<logs>/describe_events/{method}/{video}.log",
    benchmark:
        "<benchmarks>/describe_events/{method}/{video}.tsv"
    wildcard_constraints:
        method=DESCRIBED,
    conda:
        "../envs/gpu.yaml"
    threads: COMPUTE.threads
    resources:
        gpu=1,
        mem_mb=describe_mb,
        runtime=describe_minutes,
    params:
        model=lambda wildcards: model_flags(UPPER),
        checkpoint=lambda wildcards: STAMPS[UPPER],
        hierarchy=lambda wildcards: DESCRIBE.hierarchy,
        mask=mask_flag,  # of the frames, which are temporary
        judgement=lambda wildcards: DESCRIBE.questions.judgement,
        description=lambda wildcards: DESCRIBE.questions.description,
        analysis=lambda wildcards: DESCRIBE.questions.analysis,
        parts=lambda wildcards: DESCRIBE.questions.parts,
        system=lambda wildcards: DESCRIBE.system,
        max_tokens=lambda wildcards: DESCRIBE.max_tokens,
        compute=upper_flags,
        kept=kept_answers("events"),
        schema=TEXT_VERSIONS["descriptions"],
    shell:
        "hhvad describe-events"
        " --focus {input.focus:q}"
        " --frames {input.frames:q}"
        " --hierarchy {params.hierarchy}"
        " --lower {input.lower:q}"
        " --judgement={params.judgement:q}"
        " --description={params.description:q}"
        " --analysis={params.analysis:q}"
        " --parts={params.parts:q}"
        " --system={params.system:q}"
        " --max-tokens {params.max_tokens}"
        " {params.model}"
        " --batch-size 1"
        " {params.compute}"
        " --threads {threads}"
        " --kept {params.kept:q}"
        " --out {output:q} 2> {log:q}"


rule describe_video:
    """Have the model judge, describe and explain the whole video."""
    input:
        focus="<results>/focus/{method}/{video}.tsv",
        frames=frames_of_focus,
        lower=[
            "<results>/descriptions/{method}/clips/{video}.jsonl",
            "<results>/descriptions/{method}/events/{video}.jsonl",
        ],
    output:
        "<results>/descriptions/{method}/videos/{video}.jsonl",
    log:
        "<logs>/describe_video/{method}/{video}.log",
    benchmark:
        "<benchmarks>/describe_video/{method}/{video}.tsv"
    wildcard_constraints:
        method=DESCRIBED,
    conda:
        "../envs/gpu.yaml"
    threads: COMPUTE.threads
    resources:
        gpu=1,
        mem_mb=describe_mb,
        runtime=describe_minutes,
    params:
        model=lambda wildcards: model_flags(UPPER),
        checkpoint=lambda wildcards: STAMPS[UPPER],
        hierarchy=lambda wildcards: DESCRIBE.hierarchy,
        mask=mask_flag,  # of the frames, which are temporary
        judgement=lambda wildcards: DESCRIBE.questions.judgement,
        description=lambda wildcards: DESCRIBE.questions.description,
        analysis=lambda wildcards: DESCRIBE.questions.analysis,
        parts=lambda wildcards: DESCRIBE.questions.parts,
        system=lambda wildcards: DESCRIBE.system,
        max_tokens=lambda wildcards: DESCRIBE.max_tokens,
        compute=upper_flags,
        kept=kept_answers("videos"),
        schema=TEXT_VERSIONS["descriptions"],
    shell:
        "hhvad describe-video"
        " --focus {input.focus:q}"
        " --frames {input.frames:q}"
        " --hierarchy {params.hierarchy}"
        " --lower {input.lower:q}"
        " --judgement={params.judgement:q}"
        " --description={params.description:q}"
        " --analysis={params.analysis:q}"
        " --parts={params.parts:q}"
        " --system={params.system:q}"
        " --max-tokens {params.max_tokens}"
        " {params.model}"
        " --batch-size 1"
        " {params.compute}"
        " --threads {threads}"
        " --kept {params.kept:q}"
        " --out {output:q} 2> {log:q}"


rule report_descriptions:
    """Put the sentences beside the events, and mark where the model judges otherwise."""
    input:
        events="<results>/events/{method}/{video}.json",
        focus="<results>/focus/{method}/{video}.tsv",
        texts=[
            "<results>/descriptions/{method}/clips/{video}.jsonl",
            "<results>/descriptions/{method}/events/{video}.jsonl",
            "<results>/descriptions/{method}/videos/{video}.jsonl",
        ],
        probe="<results>/probe/{video}.json",
    output:
        json="<results>/descriptions/{method}/{video}.json",
        table="<results>/descriptions/{method}/{video}.tsv",
    log:
        "<logs>/report_descriptions/{method}/{video}.log",
    benchmark:
        "<benchmarks>/report_descriptions/{method}/{video}.tsv"
    wildcard_constraints:
        method=DESCRIBED,
    conda:
        "../envs/light.yaml"
    resources:
        mem_mb=500,
        runtime=10,
    shell:
        "hhvad report-descriptions"
        " --events {input.events:q}"
        " --focus {input.focus:q}"
        " --texts {input.texts:q}"
        " --probe {input.probe:q}"
        " --out-json {output.json:q}"
        " --out-table {output.table:q} 2> {log:q}"
