# What models are asked: head features, captions, answers, vectors.


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
        times=lambda wildcards: model_of(wildcards).times,
        outer_marks=lambda wildcards: "yes" if model_of(wildcards).outer_marks else "no",
        siblings=siblings,
        heads=wanted_heads,
        frames=frames_shape,
        batch_size=batch_size_of_captures,
        rest=rest_flags,
        compute=compute_flags,
        schema=SCHEMA_VERSIONS["features"],
    shell:
        "hhvad capture-heads"
        " --frames {input.frames:q}"
        " --probe {input.probe:q}"
        " {params.rest}"
        " --times {params.times}"
        " --outer-marks {params.outer_marks}"
        " --model {params.path:q}"
        " --model-name {wildcards.model:q}"
        " --revision={params.revision:q}"
        " --dtype {params.dtype}"
        " --prompt-id {wildcards.prompt:q}"
        " --prompt={params.text:q}"
        " --system={params.system:q}"
        " {params.siblings}"
        " --heads {params.heads:q}"
        " --batch-size {params.batch_size}"
        " {params.compute}"
        " --threads {threads}"
        " --out {output:q} 2> {log:q}"


rule caption_frames:
    """Describe one frame every `stride` frames."""
    input:
        frames=lambda wildcards: grid_file(
            wildcards, f"captions.{wildcards.model}.{wildcards.prompt}"
        ),
        probe="<results>/probe/{video}.json",
    output:
        "<results>/captions/{model}/grid{stride}/{prompt}/{video}.jsonl",
    log:
        "<logs>/caption_frames/{model}/grid{stride}/{prompt}/{video}.log",
    benchmark:
        "<benchmarks>/caption_frames/{model}/grid{stride}/{prompt}/{video}.tsv"
    wildcard_constraints:
        prompt=one_of(prompt for _, prompt in STUDY.captions),
    conda:
        "../envs/gpu.yaml"
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
        text=lambda wildcards: caption_of(wildcards).prompt,
        shown=lambda wildcards: caption_of(wildcards).frames_shown,
        keep=lambda wildcards: caption_of(wildcards).keep,
        max_tokens=lambda wildcards: caption_of(wildcards).max_tokens,
        size=lambda wildcards: STUDY.seen(wildcards.model),
        mask=mask_flag,
        rest=rest_flags,
        compute=compute_flags,
        schema=TEXT_VERSIONS["texts"],
    shell:
        "hhvad caption-frames"
        " --frames {input.frames:q}"
        " --probe {input.probe:q}"
        " {params.rest}"
        " --model {params.path:q}"
        " --model-name {wildcards.model:q}"
        " --revision={params.revision:q}"
        " --dtype {params.dtype}"
        " --prompt-id {wildcards.prompt:q}"
        " --prompt={params.text:q}"
        " --system="
        " --shown {params.shown}"
        " --keep {params.keep}"
        " --max-tokens {params.max_tokens}"
        " --batch-size {params.batch_size}"
        " {params.compute}"
        " --threads {threads}"
        " --out {output:q} 2> {log:q}"


rule embed_frames:
    """Turn one frame every `stride` frames into a vector."""
    input:
        frames=lambda wildcards: grid_file(wildcards, f"vectors.{wildcards.model}"),
        probe="<results>/probe/{video}.json",
    output:
        "<results>/vectors/{model}/grid{stride}/{video}.h5",
    log:
        "<logs>/embed_frames/{model}/grid{stride}/{video}.log",
    benchmark:
        "<benchmarks>/embed_frames/{model}/grid{stride}/{video}.tsv"
    conda:
        "../envs/gpu.yaml"
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
        size=lambda wildcards: STUDY.seen(wildcards.model),
        mask=mask_flag,
        rest=rest_flags,
        compute=compute_flags,
        schema=SCHEMA_VERSIONS["vectors"],
        vectors=unit_vectors,
    shell:
        "hhvad embed-frames"
        " --frames {input.frames:q}"
        " --probe {input.probe:q}"
        " {params.rest}"
        " --vectors {params.vectors}"
        " --model {params.path:q}"
        " --model-name {wildcards.model:q}"
        " --revision={params.revision:q}"
        " --dtype {params.dtype}"
        " --batch-size {params.batch_size}"
        " {params.compute}"
        " --threads {threads}"
        " --out {output:q} 2> {log:q}"


use rule embed_frames as embed_class_tokens with:
    # The vision encoder's class vector of each frame, as it is.
    input:
        frames=lambda wildcards: grid_file(wildcards, f"class.{wildcards.model}"),
        probe="<results>/probe/{video}.json",
    output:
        "<results>/vectors/{model}/class{stride}/{video}.h5",
    log:
        "<logs>/embed_class_tokens/{model}/class{stride}/{video}.log",
    benchmark:
        "<benchmarks>/embed_class_tokens/{model}/class{stride}/{video}.tsv"
    params:
        path=lambda wildcards: model_of(wildcards).path,
        revision=lambda wildcards: model_of(wildcards).revision or "",
        dtype=lambda wildcards: model_of(wildcards).dtype,
        checkpoint=lambda wildcards: STAMPS[wildcards.model],
        batch_size=lambda wildcards: model_of(wildcards).batch_size,
        size=lambda wildcards: STUDY.seen(wildcards.model),
        mask=mask_flag,
        rest=rest_flags,
        compute=compute_flags,
        schema=SCHEMA_VERSIONS["vectors"],
        vectors="class",


rule embed_texts:
    """Turn captions, summaries or phrases into vectors."""
    input:
        "<results>/{texts}.jsonl",
    output:
        "<results>/vectors/{model}/{texts}.h5",
    log:
        "<logs>/embed_texts/{model}/{texts}.log",
    benchmark:
        "<benchmarks>/embed_texts/{model}/{texts}.tsv"
    wildcard_constraints:
        texts=r"(captions|summaries|phrases)/.+",
    conda:
        "../envs/gpu.yaml"
    threads: COMPUTE.threads
    resources:
        gpu=1,
        mem_mb=capture_mb,
        runtime=15,
    params:
        path=lambda wildcards: model_of(wildcards).path,
        revision=lambda wildcards: model_of(wildcards).revision or "",
        dtype=lambda wildcards: model_of(wildcards).dtype,
        checkpoint=lambda wildcards: STAMPS[wildcards.model],
        batch_size=lambda wildcards: model_of(wildcards).batch_size,
        compute=compute_flags,
        schema=SCHEMA_VERSIONS["vectors"],
    shell:
        "hhvad embed-texts"
        " --texts {input:q}"
        " --field text"
        " --model {params.path:q}"
        " --model-name {wildcards.model:q}"
        " --revision={params.revision:q}"
        " --dtype {params.dtype}"
        " --batch-size {params.batch_size}"
        " {params.compute}"
        " --threads {threads}"
        " --out {output:q} 2> {log:q}"


rule complete_texts:
    """Have an LLM answer the questions of a method about a video."""
    input:
        "<results>/requests/{method}/{question}/{video}.jsonl",
    output:
        "<results>/answers/{model}/{method}/{question}/{video}.jsonl",
    log:
        "<logs>/complete_texts/{model}/{method}/{question}/{video}.log",
    benchmark:
        "<benchmarks>/complete_texts/{model}/{method}/{question}/{video}.tsv"
    wildcard_constraints:
        question=r"(raw-)?summary|((raw|caption)-)?rating",
    conda:
        "../envs/gpu.yaml"
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
        max_tokens=lambda wildcards: STUDY.methods[wildcards.method].answers.max_tokens,
        sampling=lambda wildcards: answer_flags(wildcards),
        compute=compute_flags,
        schema=TEXT_VERSIONS["answers"],
    shell:
        "hhvad complete-texts"
        " --requests {input:q}"
        " --model {params.path:q}"
        " --model-name {wildcards.model:q}"
        " --revision={params.revision:q}"
        " --dtype {params.dtype}"
        " --max-tokens {params.max_tokens}"
        " {params.sampling}"
        " --batch-size {params.batch_size}"
        " {params.compute}"
        " --threads {threads}"
        " --out {output:q} 2> {log:q}"
