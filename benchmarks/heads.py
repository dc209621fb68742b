"""Speed of head identification and of locator calibration, against straightforward code.

    python benchmarks/heads.py [--samples 16 64 160] [--markdown benchmarks/heads.md]

"Per head" is METHOD's formulas one head at a time with scikit-learn and SciPy, as the official code
does it. Both sides run in this process, one after the other, on the same seeded data, at one thread
of BLAS and OpenMP; the experts of both are compared. Peak memory is that of a fresh process which
makes one prompt's features and scores them, as a job of the workflow does. Nothing is extrapolated
unless the table says so.
"""

from __future__ import annotations

import argparse
import datetime
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from sklearn.cluster import KMeans
from sklearn.covariance import LedoitWolf
from sklearn.metrics import f1_score, normalized_mutual_info_score
from sklearn.metrics.pairwise import rbf_kernel
from threadpoolctl import threadpool_limits

from hhvad.localization import locator
from hhvad.methods.headhunt import rhi, saliency
from hhvad.methods.headhunt.resampled import score_resamples

LAYERS, HEADS, DIM, PROMPTS = 28, 28, 128, 5


def features(samples, prompt):
    """Seeded features [samples, 28, 28, 128] float32 in which heads differ in what they tell."""
    random = np.random.default_rng([samples, prompt])
    head = np.random.default_rng(samples)
    labels = np.arange(samples) % 2
    x = random.standard_normal((samples, LAYERS, HEADS, DIM), dtype=np.float32)
    x += head.standard_normal((LAYERS, HEADS, DIM), dtype=np.float32)
    strength = head.uniform(0, 0.6, (LAYERS, HEADS, 1)).astype(np.float32)
    x[labels == 1] += strength * head.standard_normal((LAYERS, HEADS, DIM), dtype=np.float32)
    return x, labels


def lda(a, n):
    scatter = (len(a) - 1) * np.cov(a, rowvar=False) + (len(n) - 1) * np.cov(n, rowvar=False)
    scatter += 1e-6 * np.eye(len(scatter))
    delta = a.mean(axis=0) - n.mean(axis=0)
    return delta @ np.linalg.pinv(scatter) @ delta


def kl(a, n):
    ridge = 1e-10 * np.eye(a.shape[1])
    p, q = (LedoitWolf().fit(x).covariance_ + ridge for x in (a, n))
    delta = a.mean(axis=0) - n.mean(axis=0)

    def directed(p, q):
        inverse = np.linalg.inv(q)
        logs = np.linalg.slogdet(q)[1] - np.linalg.slogdet(p)[1]
        return 0.5 * (logs - len(p) + np.trace(inverse @ p) + delta @ inverse @ delta)

    return np.clip((directed(p, q) + directed(q, p)) / 2, 0, 1e6)


def mmd(a, n):
    x = np.concatenate([a, n])
    squared = ((x[:, None] - x[None]) ** 2).sum(axis=-1)
    gamma = 1 / (2 * np.median(squared[squared > 0]))
    aa, nn, an = (rbf_kernel(p, q, gamma).mean() for p, q in ((a, a), (n, n), (a, n)))
    return max(aa + nn - 2 * an, 0)


def nmi(a, n):
    x = np.concatenate([a, n])
    truth = np.r_[np.zeros(len(a)), np.ones(len(n))]
    clusters = KMeans(n_clusters=2, random_state=42, n_init="auto").fit_predict(x)
    return normalized_mutual_info_score(truth, clusters)


def per_head(x, labels):
    result = np.empty((4, LAYERS, HEADS))
    for layer in range(LAYERS):
        for head in range(HEADS):
            a, n = x[labels == 1, layer, head], x[labels == 0, layer, head]
            result[:, layer, head] = lda(a, n), kl(a, n), mmd(a, n), nmi(a, n)
    return result


def experts_of(metrics):
    return rhi.top_heads(rhi.robust_saliency(rhi.normalise(np.stack(metrics))), 5)


def timed(function, *arguments, **options):
    start = time.perf_counter()
    result = function(*arguments, **options)
    return time.perf_counter() - start, result


def compare_saliency(samples):
    """Seconds of both ways over all prompts; whether they choose the same experts."""
    slow = fast = 0.0
    metrics = ([], [])
    for prompt in range(PROMPTS):
        x, labels = features(samples, prompt)
        seconds, found = timed(saliency.score_heads, x, labels, threads=1)
        fast += seconds
        metrics[0].append(found)
        seconds, found = timed(per_head, x, labels)
        slow += seconds
        metrics[1].append(found)
    difference = max(np.abs(a[:3] / b[:3] - 1).max() for a, b in zip(*metrics, strict=True))
    same_nmi = all(np.array_equal(a[3], b[3]) for a, b in zip(*metrics, strict=True))
    return slow, fast, experts_of(metrics[0]) == experts_of(metrics[1]), difference, same_nmi


def with_threads(samples, threads):
    x, labels = features(samples, 0)
    return min(timed(saliency.score_heads, x, labels, threads=threads)[0] for _ in range(3))


def bootstrap_seconds(samples, count=20, threads=2):
    """Seconds of one bootstrap resample of all prompts, of its rows and from shared products."""
    x, labels = features(samples, 0)
    picks = list(rhi.resamples(labels, count))
    shared = timed(score_resamples, x, labels, picks, threads=threads)[0] / count
    rows = [
        timed(saliency.score_heads, x[pick], labels[pick], threads=threads)[0] for pick in picks[:3]
    ]
    return PROMPTS * float(np.mean(rows)), PROMPTS * shared


def peak_megabytes(samples):
    code = f"import sys; sys.path.insert(0, 'benchmarks'); import heads; heads.peak({samples})"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return float(done.stdout)


def peak(samples):
    saliency.score_heads(*features(samples, 0), threads=1)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def naive_calibration(scores, labels):
    best = (0.0, 0.0, 0.0)
    truth = np.concatenate(labels)
    for sigma in np.linspace(0.5, 3.0, 11):
        smoothed = np.concatenate([locator.smooth(one, sigma) for one in scores])
        for tau in np.linspace(0.1, 0.9, 81):
            f1 = f1_score(truth, (smoothed > tau).astype(int), zero_division=0)
            if f1 > best[2]:
                best = (sigma, tau, f1)
    return best


def compare_locator(videos=30, segments=300):
    random = np.random.default_rng(0)
    scores, labels = [], []
    for _ in range(videos):
        label = np.zeros(segments, dtype=int)
        start = random.integers(0, segments - 60)
        label[start : start + random.integers(5, 60)] = random.random() < 0.6
        scores.append(np.clip(0.35 + 0.3 * label + random.normal(0, 0.2, segments), 0, 1))
        labels.append(label)
    slow, expected = timed(naive_calibration, scores, labels)
    fast = min(timed(locator.calibrate, scores, labels)[0] for _ in range(5))
    return slow, fast, locator.calibrate(scores, labels).f1 >= expected[2]  # its grid is finer


def report(sizes):
    yield f"Measured {datetime.datetime.now(datetime.UTC):%Y-%m-%d} by `benchmarks/heads.py`: one"
    yield f"thread, {platform.machine()}, Python {platform.python_version()}, NumPy"
    yield f"{np.__version__}, {LAYERS} x {HEADS} heads of {DIM} dimensions, {PROMPTS} prompts;"
    yield "nothing is extrapolated."
    yield ""
    yield "| videos | per head | hhvad | ratio | same experts | largest difference (LDA, KL, MMD) |"
    yield "|---|---|---|---|---|---|"
    x, labels = features(16, 0)
    for metric in (lda, kl, mmd, nmi):  # imports and first calls, of both sides
        metric(x[:8, 0, 0], x[8:, 0, 0])
    saliency.score_heads(x[:, :1], labels)
    saliency._sklearn_two_means(x[:, 0, 0])
    for samples in sizes:
        slow, fast, same, difference, same_nmi = compare_saliency(samples)
        note = "NMI equal" if same_nmi else "NMI differs"
        yield (
            f"| {samples} | {slow:.1f} s | {fast:.2f} s | {slow / fast:.0f}x | "
            f"{'yes' if same else 'NO'} | {difference:.0e}, {note} |"
        )
    yield ""
    yield "| videos | one prompt, 1 thread | 2 threads | peak memory of it |"
    yield "|---|---|---|---|"
    for samples in sizes:
        one, two = with_threads(samples, 1), with_threads(samples, 2)
        yield f"| {samples} | {one:.3f} s | {two:.3f} s | {peak_megabytes(samples):.0f} MB |"
    yield ""
    yield "A bootstrap resample of all prompts, two threads:"
    yield ""
    yield "| videos | of its rows | from shared products | ratio | 200 of them |"
    yield "|---|---|---|---|---|"
    for samples in sizes:
        rows, shared = bootstrap_seconds(samples)
        yield (
            f"| {samples} | {rows:.2f} s | {shared:.2f} s | {rows / shared:.1f}x | "
            f"{200 * shared / 60:.1f} min |"
        )
    yield ""
    slow, fast, same = compare_locator()
    yield "Locator calibration, 30 videos x 300 segments, 11 x 81 grid: scikit-learn loop"
    yield f"{slow:.2f} s, hhvad {fast * 1000:.1f} ms, {slow / fast:.0f}x; F1 as high: {same}."


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", nargs="+", type=int, default=[16, 64, 160])
    parser.add_argument("--markdown", type=Path)
    given = parser.parse_args()
    lines = []
    with threadpool_limits(1):
        for line in report(given.samples):
            print(line, flush=True)
            lines.append(line)
    if given.markdown:
        given.markdown.write_text("# Heads and locator\n\n" + "\n".join(lines) + "\n")
