# LAVAD: a captioner describes frames, an encoder corrects the captions, an LLM sums up and rates them.


rule sample_windows:
    """Decode the video once and keep the frames of exact windows."""
    input:
        video=video_file,
        probe="<results>/probe/{video}.json",
    output:
        temp("<scratch>/windows/{windows}/{reader}/{size}/{video}.h5"),
    log:
        "<logs>/sample_windows/{windows}/{reader}/{size}/{video}.log",
    benchmark:
        "<benchmarks>/sample_windows/{windows}/{reader}/{size}/{video}.tsv"
    wildcard_constraints:
        windows=one_of(STUDY.exact_frames),
    conda:
        "../../envs/gpu.yaml"
    threads: SAMPLING.threads
    resources:
        mem_mb=2000,
        runtime=sample_minutes,
        disk_mb=windows_mb,
    params:
        path=video_path,
        size=height_and_width,
        mask=mask_flag,
        fps=lambda wildcards: fps_of(STUDY.exact_frames[wildcards.windows]),
        stride=lambda wildcards: STUDY.exact_frames[wildcards.windows].stride,
        seconds=lambda wildcards: STUDY.exact_frames[wildcards.windows].window.seconds,
        samples=lambda wildcards: STUDY.exact_frames[wildcards.windows].window.samples,
        schema=SCHEMA_VERSIONS["frames"],
        timeout=time_limit,
    shell:
        "hhvad sample-windows"
        " --video {wildcards.video:q}"
        " --path {params.path:q}"
        " --probe {input.probe:q}"
        " {params.fps}"
        " --stride {params.stride}"
        " --seconds {params.seconds}"
        " --samples {params.samples}"
        " --size {params.size}"
        " {params.mask}"
        " --threads {threads}"
        " --timeout {params.timeout}"
        " --out {output:q} 2> {log:q}"


use rule embed_frames as embed_windows with:
    # The frames of exact windows: up to `samples` per stride.
    input:
        frames=windows_file,
        probe="<results>/probe/{video}.json",
    output:
        "<results>/vectors/{model}/{windows}/{video}.h5",
    log:
        "<logs>/embed_windows/{model}/{windows}/{video}.log",
    benchmark:
        "<benchmarks>/embed_windows/{model}/{windows}/{video}.tsv"
    wildcard_constraints:
        windows=one_of(STUDY.exact_frames),
    conda:
        "../../envs/gpu.yaml"
    resources:
        gpu=1,
        mem_mb=capture_mb,
        runtime=windows_minutes,


rule clean_captions:
    """Give each frame of each window the caption of the video that fits it best."""
    input:
        captions=captions_of_captioners,
        vectors=caption_vectors,
        frames=frame_vectors,
        probe="<results>/probe/{video}.json",
    output:
        "<results>/cleaned/{method}/{video}.jsonl",
    log:
        "<logs>/clean_captions/{method}/{video}.log",
    benchmark:
        "<benchmarks>/clean_captions/{method}/{video}.tsv"
    wildcard_constraints:
        method=one_of(STUDY.of(Lavad)),
    conda:
        "../../envs/light.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        fps=fps_flag,
        stride=lambda wildcards: lavad(wildcards).stride,
        seconds=lambda wildcards: lavad(wildcards).window.seconds,
        samples=lambda wildcards: lavad(wildcards).window.samples,
        frames=lambda wildcards: lavad(wildcards).window.frames,
        schema=TEXT_VERSIONS["cleaned"],
    shell:
        "hhvad clean-captions"
        " --captions {input.captions:q}"
        " --caption-vectors {input.vectors:q}"
        " --frame-vectors {input.frames:q}"
        " --probe {input.probe:q}"
        " {params.fps}"
        " --stride {params.stride}"
        " --seconds {params.seconds}"
        " --samples {params.samples}"
        " --on {params.frames}"
        " --out {output:q} 2> {log:q}"


rule ask_summaries:
    """Write the question for a summary of each window."""
    input:
        "<results>/cleaned/{method}/{video}.jsonl",
    output:
        "<results>/requests/{method}/summary/{video}.jsonl",
    log:
        "<logs>/ask_summaries/{method}/{video}.log",
    benchmark:
        "<benchmarks>/ask_summaries/{method}/{video}.tsv"
    wildcard_constraints:
        method=one_of(STUDY.of(Lavad)),
    conda:
        "../../envs/light.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        system=lambda wildcards: STUDY.questions[wildcards.method].summarise,
        each=asked_once,
        schema=TEXT_VERSIONS["requests"],
    shell:
        "hhvad ask-summaries"
        " --cleaned {input:q}"
        " --system={params.system:q}"
        " --each {params.each}"
        " --out {output:q} 2> {log:q}"


rule read_summaries:
    """Give each window its summary."""
    input:
        cleaned="<results>/cleaned/{method}/{video}.jsonl",
        answers=answers_to("summary"),
    output:
        "<results>/summaries/{method}/{video}.jsonl",
    log:
        "<logs>/read_summaries/{method}/{video}.log",
    benchmark:
        "<benchmarks>/read_summaries/{method}/{video}.tsv"
    wildcard_constraints:
        method=one_of(STUDY.of(Lavad)),
    conda:
        "../../envs/light.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        schema=TEXT_VERSIONS["summaries"],
    shell:
        "hhvad read-summaries"
        " --cleaned {input.cleaned:q}"
        " --answers {input.answers:q}"
        " --out {output:q} 2> {log:q}"


rule ask_ratings:
    """Write the question for a number of each summary."""
    input:
        "<results>/summaries/{method}/{video}.jsonl",
    output:
        "<results>/requests/{method}/rating/{video}.jsonl",
    log:
        "<logs>/ask_ratings/{method}/{video}.log",
    benchmark:
        "<benchmarks>/ask_ratings/{method}/{video}.tsv"
    wildcard_constraints:
        method=one_of(STUDY.of(Lavad)),
    conda:
        "../../envs/light.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        context=lambda wildcards: STUDY.questions[wildcards.method].ratings[
            lavad(wildcards).rating
        ],
        format=lambda wildcards: STUDY.questions[wildcards.method].format,
        each=asked_once,
        schema=TEXT_VERSIONS["requests"],
    shell:
        "hhvad ask-ratings"
        " --summaries {input:q}"
        " --context={params.context:q}"
        " --format={params.format:q}"
        " --each {params.each}"
        " --out {output:q} 2> {log:q}"


rule read_ratings:
    """Read the number of each window, and count those that cannot be read."""
    input:
        summaries="<results>/summaries/{method}/{video}.jsonl",
        answers=answers_to("rating"),
    output:
        ratings="<results>/ratings/{method}/{video}.tsv",
        counts="<results>/ratings/{method}/{video}.json",
    log:
        "<logs>/read_ratings/{method}/{video}.log",
    benchmark:
        "<benchmarks>/read_ratings/{method}/{video}.tsv"
    wildcard_constraints:
        method=one_of(STUDY.of(Lavad)),
    conda:
        "../../envs/light.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    shell:
        "hhvad read-ratings"
        " --summaries {input.summaries:q}"
        " --answers {input.answers:q}"
        " --video {wildcards.video:q}"
        " --out {output.ratings:q}"
        " --out-counts {output.counts:q} 2> {log:q}"


rule refine_scores:
    """Correct each window's number by those of similar windows or summaries."""
    input:
        ratings="<results>/ratings/{method}/{video}.tsv",
        cleaned="<results>/cleaned/{method}/{video}.jsonl",
        frames=frame_vectors,
        summaries=summary_vectors,
        probe="<results>/probe/{video}.json",
    output:
        "<results>/scores/{method}/{video}.tsv",
    log:
        "<logs>/refine_scores/{method}/{video}.log",
    benchmark:
        "<benchmarks>/refine_scores/{method}/{video}.tsv"
    wildcard_constraints:
        method=one_of(STUDY.of(Lavad)),
    conda:
        "../../envs/light.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        summaries=summary_vectors_flag,
        stride=lambda wildcards: lavad(wildcards).stride,
        vector=lambda wildcards: lavad(wildcards).window.vector,
        among=lambda wildcards: lavad(wildcards).neighbours.among,
        neighbours=lambda wildcards: lavad(wildcards).neighbours.count,
        share=lambda wildcards: lavad(wildcards).neighbours.share,
        temperature=lambda wildcards: lavad(wildcards).neighbours.temperature,
    shell:
        "hhvad refine-scores"
        " --ratings {input.ratings:q}"
        " --cleaned {input.cleaned:q}"
        " --frame-vectors {input.frames:q}"
        " {params.summaries}"
        " --probe {input.probe:q}"
        " --stride {params.stride}"
        " --window-vector {params.vector}"
        " --among {params.among}"
        " --count {params.neighbours}"
        " --share {params.share}"
        " --temperature {params.temperature}"
        " --out {output:q} 2> {log:q}"
