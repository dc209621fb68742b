# From a video file to the frames that models see.


rule probe_video:
    """Read what the file is: frames, frame rate, size, codec, and which decoder reads it."""
    input:
        video_file,
    output:
        "<results>/probe/{video}.json",
    log:
        "<logs>/probe_video/{video}.log",
    benchmark:
        "<benchmarks>/probe_video/{video}.tsv"
    conda:
        "../envs/light.yaml"
    resources:
        mem_mb=500,
        runtime=5,
    params:
        path=video_path,
        size=video_bytes,
        schema=probe_version,
        on_damage=on_damage,
        timeout=time_limit,
    shell:
        "hhvad probe-video"
        " --video {wildcards.video:q}"
        " --path {params.path:q}"
        " --on-damage {params.on_damage}"
        " --timeout {params.timeout}"
        " --out {output:q} 2> {log:q}"


rule sample_thumbnails:
    """Keep small pictures of the video, for its figures and for the page."""
    input:
        video=video_file,
        probe="<results>/probe/{video}.json",
    output:
        "<results>/thumbnails/{video}.h5",
    log:
        "<logs>/sample_thumbnails/{video}.log",
    benchmark:
        "<benchmarks>/sample_thumbnails/{video}.tsv"
    conda:
        "../envs/light.yaml"
    resources:
        mem_mb=1000,
        runtime=sample_minutes,
    params:
        path=video_path,
        pictures=24,
        width=320,
        schema=SCHEMA_VERSIONS["thumbnails"],
        timeout=time_limit,
    shell:
        "hhvad sample-thumbnails"
        " --video {wildcards.video:q}"
        " --path {params.path:q}"
        " --probe {input.probe:q}"
        " --count {params.pictures}"
        " --width {params.width}"
        " --timeout {params.timeout}"
        " --out {output:q} 2> {log:q}"


rule check_annotations:
    """Hold the sheet's events against the videos, before anything expensive depends on them."""
    input:
        probes_of_annotated,
    output:
        "<results>/annotations/{split}.tsv",
    log:
        "<logs>/check_annotations/{split}.log",
    benchmark:
        "<benchmarks>/check_annotations/{split}.tsv"
    conda:
        "../envs/light.yaml"
    resources:
        mem_mb=500,
        runtime=10,
    params:
        annotations=annotations_of_split,
        sheet=SHEET,
        results=results_folder,
    shell:
        "hhvad check-annotations"
        " --sheet {params.sheet:q}"
        " --split {wildcards.split}"
        " --probes-folder {params.results:q}/probe"
        " --out {output:q} 2> {log:q}"


rule label_segments:
    """Label the segments of calibration videos by their events, where these are the samples."""
    input:
        probes_of(CALIBRATION),
    output:
        "<results>/annotations/segments.tsv",
    log:
        "<logs>/label_segments.log",
    benchmark:
        "<benchmarks>/label_segments.tsv"
    conda:
        "../envs/light.yaml"
    resources:
        mem_mb=500,
        runtime=10,
    params:
        annotations=STUDY.annotation(CALIBRATION),
        segment_length=SAMPLING.segment_length,
        sheet=SHEET,
        results=results_folder,
    shell:
        "hhvad label-segments"
        " --sheet {params.sheet:q}"
        " --probes-folder {params.results:q}/probe"
        " --segment-length {params.segment_length}"
        " --out {output:q} 2> {log:q}"


rule sample_frames:
    """Decode the video once, in order, and keep F frames of it: they stay, for prompts to come."""
    input:
        video=video_file,
        probe="<results>/probe/{video}.json",
    output:
        "<results>/frames/video/{size}/{video}.h5",
    log:
        "<logs>/sample_frames/{size}/{video}.log",
    benchmark:
        "<benchmarks>/sample_frames/{size}/{video}.tsv"
    conda:
        "../envs/gpu.yaml"
    threads: SAMPLING.threads
    resources:
        mem_mb=2000,
        runtime=sample_minutes,
        disk_mb=video_mb,
    params:
        path=video_path,
        view="video",
        frames=SAMPLING.frames_per_segment,
        segment_length=SAMPLING.segment_length,
        size=height_and_width,
        mask=mask_flag,
        schema=SCHEMA_VERSIONS["frames"],
        timeout=time_limit,
        keep=kept_all,
    shell:
        "hhvad sample-frames"
        " --video {wildcards.video:q}"
        " --path {params.path:q}"
        " --probe {input.probe:q}"
        " --view {params.view}"
        " --frames-per-segment {params.frames}"
        " --segment-length {params.segment_length}"
        " --size {params.size}"
        " {params.mask}"
        " --threads {threads}"
        " {params.keep}"
        " --timeout {params.timeout}"
        " --out {output:q} 2> {log:q}"


use rule sample_frames as sample_video_but_last with:
    # As the official HeadHunt code samples a whole video.
    output:
        "<results>/frames/video-but-last/{size}/{video}.h5",
    log:
        "<logs>/sample_video_but_last/{size}/{video}.log",
    benchmark:
        "<benchmarks>/sample_video_but_last/{size}/{video}.tsv"
    params:
        path=video_path,
        view="video-but-last",
        frames=SAMPLING.frames_per_segment,
        segment_length=SAMPLING.segment_length,
        size=height_and_width,
        mask=mask_flag,
        schema=SCHEMA_VERSIONS["frames"],
        timeout=time_limit,
        keep=kept_all,


use rule sample_frames as sample_segments with:
    # F frames of each segment: large, for one reader, and gone when that has read them.
    output:
        temp("<scratch>/segments/{reader}/{size}/{video}.h5"),
    log:
        "<logs>/sample_segments/{reader}/{size}/{video}.log",
    benchmark:
        "<benchmarks>/sample_segments/{reader}/{size}/{video}.tsv"
    resources:
        mem_mb=2000,
        runtime=sample_minutes,
        disk_mb=segments_mb,
    params:
        path=video_path,
        view="segments",
        frames=SAMPLING.frames_per_segment,
        segment_length=SAMPLING.segment_length,
        size=height_and_width,
        mask=mask_flag,
        schema=SCHEMA_VERSIONS["frames"],
        timeout=time_limit,
        keep=kept_on_scratch,


use rule sample_frames as sample_grid with:
    # One frame every `stride` frames, for one reader, and gone when that has read them.
    output:
        temp("<scratch>/grid/{stride}/{reader}/{size}/{video}.h5"),
    log:
        "<logs>/sample_grid/{stride}/{reader}/{size}/{video}.log",
    benchmark:
        "<benchmarks>/sample_grid/{stride}/{reader}/{size}/{video}.tsv"
    resources:
        mem_mb=2000,
        runtime=sample_minutes,
        disk_mb=grid_mb,
    params:
        path=video_path,
        view="grid",
        frames=1,
        segment_length=stride_of,
        size=height_and_width,
        mask=mask_flag,
        schema=SCHEMA_VERSIONS["frames"],
        timeout=time_limit,
        keep=kept_on_scratch,


use rule sample_segments as sample_calibration_segments with:
    # Several prompts are asked about these: they stay, as the frames of whole videos do.
    output:
        "<results>/frames/segments/{size}/{video}.h5",
    log:
        "<logs>/sample_calibration_segments/{size}/{video}.log",
    benchmark:
        "<benchmarks>/sample_calibration_segments/{size}/{video}.tsv"
