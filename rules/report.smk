# Numbers and pictures.


rule report_metrics:
    """Compare the scores of the test videos with their annotations, beside degenerate baselines."""
    input:
        # Events and probes are read too: the job that wrote the scores wrote or read them. Snakemake's
        # time grows with the square of a job's inputs.
        scores=localization_of_labelled_tests,
        detector=DETECTOR,
        annotations="<results>/annotations/test.tsv",
    output:
        metrics="<results>/metrics/{model}.json",
        table=report(
            "<results>/metrics/{model}.tsv",
            caption="../workflow/report/metrics.rst",
            category="Metrics",
            labels={"model": "{model}", "table": "metrics"},
        ),
    log:
        "<logs>/report_metrics/{model}.log",
    benchmark:
        "<benchmarks>/report_metrics/{model}.tsv"
    conda:
        "../envs/light.yaml"
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        annotations=annotations_of(TEST),
        sheet=config["videos"],
        results=results_folder,
        dataset=config["dataset"],
        interval=config["metrics"]["interval"],
        bootstrap=config["metrics"]["bootstrap"],
        seed=config["metrics"]["seed"],
    shell:
        "hhvad report-metrics"
        " --sheet {params.sheet:q}"
        " --scores-folder {params.results:q}/localization/{wildcards.model:q}"
        " --events-folder {params.results:q}/events/{wildcards.model:q}"
        " --probes-folder {params.results:q}/probe"
        " --detector {input.detector:q}"
        " --dataset {params.dataset}"
        " --interval {params.interval}"
        " --bootstrap {params.bootstrap}"
        " --seed {params.seed}"
        " --out {output.metrics:q}"
        " --table {output.table:q} 2> {log:q}"


rule plot_video:
    """Draw a video's scores, threshold, annotated and detected events over its thumbnails."""
    input:
        video=video_file,
        scores="<results>/localization/{model}/{video}.tsv",
        events="<results>/events/{model}/{video}.tsv",
        detector=DETECTOR,
        probe="<results>/probe/{video}.json",
    output:
        report(
            "<results>/figures/{model}/videos/{video}.png",
            caption="../workflow/report/video.rst",
            category="Videos",
            labels={"video": "{video}", "view": "figure"},
        ),
    log:
        "<logs>/plot_video/{model}/{video}.log",
    benchmark:
        "<benchmarks>/plot_video/{model}/{video}.tsv"
    conda:
        "../envs/light.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        path=video_path,
        annotated=video_annotation,
    shell:
        "hhvad plot-video"
        " --video {wildcards.video:q}"
        " --path {params.path:q}"
        " --scores {input.scores:q}"
        " --events-detected {input.events:q}"
        " --detector {input.detector:q}"
        " --probe {input.probe:q}"
        " {params.annotated}"
        " --out {output:q} 2> {log:q}"


rule plot_heads:
    """Draw the RSS of every head, each prompt's saliency, and how far the prompts agree."""
    input:
        experts="<results>/experts/{model}.h5",
    output:
        rss=report(
            "<results>/figures/{model}/rss.svg",
            caption="../workflow/report/rss.rst",
            category="Heads",
            labels={"model": "{model}", "figure": "RSS map"},
        ),
        saliency=report(
            "<results>/figures/{model}/saliency.svg",
            caption="../workflow/report/saliency.rst",
            category="Heads",
            labels={"model": "{model}", "figure": "saliency per prompt"},
        ),
        agreement=report(
            "<results>/figures/{model}/agreement.svg",
            caption="../workflow/report/agreement.rst",
            category="Heads",
            labels={"model": "{model}", "figure": "agreement between prompts"},
        ),
    log:
        "<logs>/plot_heads/{model}.log",
    benchmark:
        "<benchmarks>/plot_heads/{model}.tsv"
    conda:
        "../envs/light.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    shell:
        "hhvad plot-heads"
        " --experts {input.experts:q}"
        " --out-rss {output.rss:q}"
        " --out-saliency {output.saliency:q}"
        " --out-agreement {output.agreement:q} 2> {log:q}"


rule plot_features:
    """Project the experts' features to a plane, beside those of the whole last layer."""
    input:
        features=calibration_features,
        segments=segment_labels,
        experts="<results>/experts/{model}.h5",
    output:
        report(
            "<results>/figures/{model}/features.svg",
            caption="../workflow/report/features.rst",
            category="Heads",
            labels={"model": "{model}", "figure": "projection of features"},
        ),
    log:
        "<logs>/plot_features/{model}.log",
    benchmark:
        "<benchmarks>/plot_features/{model}.tsv"
    conda:
        "../envs/light.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        labels=sample_labels,
    shell:
        "hhvad plot-features"
        " --features {input.features:q}"
        " {params.labels}"
        " --experts {input.experts:q}"
        " --out {output:q} 2> {log:q}"


rule plot_curves:
    """Draw the ROC and the precision-recall curve over all annotated test frames."""
    input:
        # Made from the same scores.
        metrics="<results>/metrics/{model}.json",
    output:
        roc=report(
            "<results>/figures/{model}/roc.svg",
            caption="../workflow/report/roc.rst",
            category="Metrics",
            labels={"model": "{model}", "figure": "ROC"},
        ),
        pr=report(
            "<results>/figures/{model}/pr.svg",
            caption="../workflow/report/pr.rst",
            category="Metrics",
            labels={"model": "{model}", "figure": "precision-recall"},
        ),
    log:
        "<logs>/plot_curves/{model}.log",
    benchmark:
        "<benchmarks>/plot_curves/{model}.tsv"
    conda:
        "../envs/light.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        annotations=annotations_of(TEST),
        sheet=config["videos"],
        results=results_folder,
    shell:
        "hhvad plot-curves"
        " --sheet {params.sheet:q}"
        " --scores-folder {params.results:q}/localization/{wildcards.model:q}"
        " --probes-folder {params.results:q}/probe"
        " --metrics {input.metrics:q}"
        " --out-roc {output.roc:q}"
        " --out-pr {output.pr:q} 2> {log:q}"
