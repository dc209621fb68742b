# Numbers and pictures.


rule report_metrics:
    """Compare the scores of the test videos with their annotations, beside degenerate baselines."""
    input:
        # Events and probes are read too: the job that wrote the scores wrote or read them. Snakemake's
        # time grows with the square of a job's inputs.
        scores=localization_of_labelled_tests,
        locator="<results>/locator/{method}.json",
        annotations="<results>/annotations/test.tsv",
    output:
        metrics="<results>/metrics/{method}.json",
        table="<results>/metrics/{method}.tsv",
    log:
        "<logs>/report_metrics/{method}.log",
    benchmark:
        "<benchmarks>/report_metrics/{method}.tsv"
    conda:
        "../envs/light.yaml"
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        annotations=STUDY.annotation(TEST),
        sheet=SHEET,
        results=results_folder,
        dataset=STUDY.config.dataset,
        interval=STUDY.config.metrics.interval,
        bootstrap=STUDY.config.metrics.bootstrap,
        seed=STUDY.config.metrics.seed,
        answers=answers_folder,
    shell:
        "hhvad report-metrics"
        " --method {wildcards.method:q}"
        " --sheet {params.sheet:q}"
        " --scores-folder {params.results:q}/localization/{wildcards.method:q}"
        " --events-folder {params.results:q}/events/{wildcards.method:q}"
        " --probes-folder {params.results:q}/probe"
        " {params.answers}"
        " --locator {input.locator:q}"
        " --dataset {params.dataset:q}"
        " --interval {params.interval}"
        " --bootstrap {params.bootstrap}"
        " --seed {params.seed}"
        " --out {output.metrics:q}"
        " --table {output.table:q} > {log:q} 2>&1"


rule plot_video:
    """Draw a video's scores, threshold, annotated and detected events over its thumbnails."""
    input:
        thumbnails="<results>/thumbnails/{video}.h5",
        scores="<results>/localization/{method}/{video}.tsv",
        events="<results>/events/{method}/{video}.tsv",
        locator="<results>/locator/{method}.json",
        probe="<results>/probe/{video}.json",
    output:
        report(
            "<results>/figures/{method}/videos/{video}.png",
            caption="../workflow/report/video.rst",
            category="Videos",
            labels={"method": "{method}", "video": "{video}", "view": "figure"},
        ),
    log:
        "<logs>/plot_video/{method}/{video}.log",
    benchmark:
        "<benchmarks>/plot_video/{method}/{video}.tsv"
    conda:
        "../envs/light.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        annotated=video_annotation,
    shell:
        "hhvad plot-video"
        " --video {wildcards.video:q}"
        " --thumbnails {input.thumbnails:q}"
        " --scores {input.scores:q}"
        " --events-detected {input.events:q}"
        " --locator {input.locator:q}"
        " --probe {input.probe:q}"
        " {params.annotated}"
        " --out {output:q} 2> {log:q}"


rule plot_curves:
    """Draw the ROC and the precision-recall curve over all annotated test frames."""
    input:
        # Made from the same scores.
        metrics="<results>/metrics/{method}.json",
    output:
        roc=report(
            "<results>/figures/{method}/roc.svg",
            caption="../workflow/report/roc.rst",
            category="Metrics",
            labels={"method": "{method}", "figure": "ROC"},
        ),
        pr=report(
            "<results>/figures/{method}/pr.svg",
            caption="../workflow/report/pr.rst",
            category="Metrics",
            labels={"method": "{method}", "figure": "precision-recall"},
        ),
    log:
        "<logs>/plot_curves/{method}.log",
    benchmark:
        "<benchmarks>/plot_curves/{method}.tsv"
    conda:
        "../envs/light.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        annotations=STUDY.annotation(TEST),
        sheet=SHEET,
        results=results_folder,
    shell:
        "hhvad plot-curves"
        " --sheet {params.sheet:q}"
        " --scores-folder {params.results:q}/localization/{wildcards.method:q}"
        " --probes-folder {params.results:q}/probe"
        " --metrics {input.metrics:q}"
        " --out-roc {output.roc:q}"
        " --out-pr {output.pr:q} 2> {log:q}"
