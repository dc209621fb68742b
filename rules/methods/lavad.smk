# LAVAD: from cleaned captions to ratings. A draft: complete-texts answers what ask_* writes.


rule ask_summaries:
    """Write each distinct question for a summary once."""
    input:
        cleaned="<results>/lavad/{method}/clean/{video}.jsonl",
    output:
        "<results>/lavad/{method}/ask-summaries/{video}.jsonl",
    log:
        "<logs>/ask_summaries/{method}/{video}.log",
    benchmark:
        "<benchmarks>/ask_summaries/{method}/{video}.tsv"
    conda:
        "../../envs/light.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        prompts=lambda w: config["methods"][w.method]["prompts"],
    shell:
        "hhvad ask-summaries"
        " --cleaned {input.cleaned:q}"
        " --prompts {params.prompts:q}"
        " --out {output:q} 2> {log:q}"


rule read_summaries:
    """Give each window its summary."""
    input:
        cleaned="<results>/lavad/{method}/clean/{video}.jsonl",
        answers="<results>/lavad/{method}/answered-summaries/{video}.jsonl",
    output:
        "<results>/lavad/{method}/summaries/{video}.jsonl",
    log:
        "<logs>/read_summaries/{method}/{video}.log",
    benchmark:
        "<benchmarks>/read_summaries/{method}/{video}.tsv"
    conda:
        "../../envs/light.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    shell:
        "hhvad read-summaries"
        " --cleaned {input.cleaned:q}"
        " --answers {input.answers:q}"
        " --out {output:q} 2> {log:q}"


rule ask_ratings:
    """Write each distinct question for a number once."""
    input:
        summaries="<results>/lavad/{method}/summaries/{video}.jsonl",
    output:
        "<results>/lavad/{method}/ask-ratings/{video}.jsonl",
    log:
        "<logs>/ask_ratings/{method}/{video}.log",
    benchmark:
        "<benchmarks>/ask_ratings/{method}/{video}.tsv"
    conda:
        "../../envs/light.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        prompts=lambda w: config["methods"][w.method]["prompts"],
        rating=lambda w: config["methods"][w.method]["rating"],
    shell:
        "hhvad ask-ratings"
        " --summaries {input.summaries:q}"
        " --prompts {params.prompts:q}"
        " --rating {params.rating:q}"
        " --out {output:q} 2> {log:q}"


rule read_ratings:
    """Read the number of each window."""
    input:
        summaries="<results>/lavad/{method}/summaries/{video}.jsonl",
        answers="<results>/lavad/{method}/answered-ratings/{video}.jsonl",
    output:
        "<results>/lavad/{method}/ratings/{video}.tsv",
    log:
        "<logs>/read_ratings/{method}/{video}.log",
    benchmark:
        "<benchmarks>/read_ratings/{method}/{video}.tsv"
    conda:
        "../../envs/light.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        video=lambda w: w.video,
    shell:
        "hhvad read-ratings"
        " --summaries {input.summaries:q}"
        " --answers {input.answers:q}"
        " --video {params.video:q}"
        " --out {output:q} 2> {log:q}"
