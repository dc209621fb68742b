# The videos of the demo. Idle as soon as the sheet names your own.


rule make_demo_video:
    """Draw one procedural street scene and encode it as H.264."""
    output:
        "<resources>/demo/{video}.mp4",
    log:
        "<logs>/make_demo_video/{video}.log",
    benchmark:
        "<benchmarks>/make_demo_video/{video}.tsv"
    conda:
        "../envs/light.yaml"
    resources:
        mem_mb=500,
        runtime=5,
    params:
        seed=STUDY.config.demo.seed,
    shell:
        "hhvad make-demo-video"
        " --video {wildcards.video:q}"
        " --seed {params.seed}"
        " --out {output:q} 2> {log:q}"
