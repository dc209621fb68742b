# The shipped tiny model from scratch: `snakemake train_demo_model`. In no default target, since the
# package holds the result: copy the folder to hhvad/demo/model to replace it.


rule train_demo_model:
    """Train the tiny model on procedural scenes; a second run goes on where the first one ended."""
    output:
        directory("<results>/demo_model/checkpoint"),
    log:
        "<logs>/train_demo_model.log",
    benchmark:
        "<benchmarks>/train_demo_model.tsv"
    conda:
        "../envs/gpu.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=120,
    shell:
        "hhvad train-demo-model"
        " --threads {threads}"
        " --work {output:q}.work"
        " --out {output:q} 2> {log:q}"
