# HiProbe-VAD: the hidden states of the layer that tells most.


use rule capture_heads as capture_states with:
    # The hidden states of every layer in place of heads; the method stands where a prompt does.
    input:
        frames=frames_of_states,
        probe="<results>/probe/{video}.json",
    output:
        "<results>/states/{model}/{view}/{prompt}/{video}.h5",
    log:
        "<logs>/capture_states/{model}/{view}/{prompt}/{video}.log",
    benchmark:
        "<benchmarks>/capture_states/{model}/{view}/{prompt}/{video}.tsv"
    wildcard_constraints:
        prompt=one_of(STUDY.of(HiProbe)),
    conda:
        "../../envs/gpu.yaml"
    params:
        path=lambda wildcards: model_of(wildcards).path,
        revision=lambda wildcards: model_of(wildcards).revision or "",
        dtype=lambda wildcards: model_of(wildcards).dtype,
        checkpoint=lambda wildcards: STAMPS[wildcards.model],
        text=lambda wildcards: settings_of_states(wildcards).question,
        system=lambda wildcards: settings_of_states(wildcards).system,
        times=lambda wildcards: model_of(wildcards).times,
        outer_marks=lambda wildcards: "yes" if model_of(wildcards).outer_marks else "no",
        siblings=no_siblings,
        heads="states",
        frames=frames_shape,
        batch_size=batch_size_of_captures,
        rest=rest_flags,
        compute=compute_flags,
        schema=SCHEMA_VERSIONS["features"],


rule score_layers:
    """Choose the layer whose states tell normal from anomalous calibration samples best."""
    input:
        features=states_of_calibration,
        segments=segment_labels,
    output:
        experts="<results>/experts/{method}.h5",
        table="<results>/experts/{method}.tsv",
    log:
        "<logs>/score_layers/{method}.log",
    benchmark:
        "<benchmarks>/score_layers/{method}.tsv"
    wildcard_constraints:
        method=one_of(STUDY.of(HiProbe)),
    conda:
        "../../envs/light.yaml"
    resources:
        mem_mb=4000,
        runtime=10,
    params:
        labels=sample_labels,
        schema=SCHEMA_VERSIONS["experts"],
    shell:
        "hhvad score-layers"
        " --features {input.features:q}"
        " {params.labels}"
        " --out {output.experts:q}"
        " --table {output.table:q} > {log:q} 2>&1"


use rule fit_scorer as fit_layer with:
    # On the states of that layer.
    input:
        features=states_of_calibration,
        segments=segment_labels,
        experts="<results>/experts/{method}.h5",
    log:
        "<logs>/fit_layer/{method}.log",
    benchmark:
        "<benchmarks>/fit_layer/{method}.tsv"
    wildcard_constraints:
        method=one_of(STUDY.of(HiProbe)),


use rule score_headhunt as score_layer with:
    # By that layer's scorer.
    input:
        features=states_of_segments,
        scorer="<results>/scorer/{method}.h5",
    log:
        "<logs>/score_layer/{method}/{video}.log",
    benchmark:
        "<benchmarks>/score_layer/{method}/{video}.tsv"
    wildcard_constraints:
        method=one_of(STUDY.of(HiProbe)),
