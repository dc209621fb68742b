# How much neighbouring frames differ: the baseline that needs no model and no labels.


rule measure_motion:
    """Measure the mean absolute difference of neighbouring sampled frames in each segment."""
    input:
        frames=f"<scratch>/segments/motion/{STUDY.size_name()}/{{video}}.h5",
        probe="<results>/probe/{video}.json",
    output:
        "<results>/motion/{video}.tsv",
    log:
        "<logs>/measure_motion/{video}.log",
    benchmark:
        "<benchmarks>/measure_motion/{video}.tsv"
    conda:
        "../../envs/light.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        frames=[SAMPLING.frames_per_segment, SAMPLING.segment_length, *SAMPLING.size],
        mask=mask_flag,
        rest=rest_flags,
    shell:
        "hhvad measure-motion"
        " --frames {input.frames:q}"
        " --probe {input.probe:q}"
        " {params.rest}"
        " --out {output:q} 2> {log:q}"


rule score_motion:
    """Scale a video's motion by that of the calibration videos."""
    input:
        motion="<results>/motion/{video}.tsv",
        calibration=[f"<results>/motion/{name}.tsv" for name in CALIBRATION],
    output:
        "<results>/scores/{method}/{video}.tsv",
    log:
        "<logs>/score_motion/{method}/{video}.log",
    benchmark:
        "<benchmarks>/score_motion/{method}/{video}.tsv"
    wildcard_constraints:
        method=one_of(STUDY.of(Motion)),
    conda:
        "../../envs/light.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        quantile=lambda wildcards: STUDY.methods[wildcards.method].quantile,
    shell:
        "hhvad score-motion"
        " --motion {input.motion:q}"
        " --calibration {input.calibration:q}"
        " --quantile {params.quantile}"
        " --out {output:q} 2> {log:q}"
