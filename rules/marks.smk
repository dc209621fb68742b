# What a person's marks of events teach: for the methods with `locator.suppress`.


rule learn_marks:
    """Turn marked events into vectors that later events are compared with."""
    input:
        features=features_of_marks,
        ordinary=ordinary_features,
        scorer=scorer_of,
    output:
        "<results>/marks/{method}.h5",
    log:
        "<logs>/learn_marks/{method}.log",
    benchmark:
        "<benchmarks>/learn_marks/{method}.tsv"
    wildcard_constraints:
        method=one_of(STUDY.marks),
    conda:
        "../envs/light.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        file=lambda wildcards: locator_of(wildcards).suppress.marks,
        marks=lambda wildcards: [str(one) for one in STUDY.marks[wildcards.method]],
        videos=marked_videos,
        cameras=lambda wildcards: [
            STUDY.videos[name].camera for name in marked_videos(wildcards)
        ],
        ordinary=lambda wildcards: (
            [STUDY.videos[name].camera for name in REFERENCE]
            if wildcards.method in STUDY.budgeted
            else []
        ),
        schema=SCHEMA_VERSIONS["marks"],
    shell:
        "hhvad learn-marks"
        " --method {wildcards.method:q}"
        " --marks {params.file:q}"
        " --videos {params.videos:q}"
        " --cameras {params.cameras:q}"
        " --features {input.features:q}"
        " --ordinary {input.ordinary:q}"
        " --ordinary-cameras {params.ordinary:q}"
        " --scorer {input.scorer:q}"
        " --out {output:q} 2> {log:q}"


localrules:
    learn_marks,
