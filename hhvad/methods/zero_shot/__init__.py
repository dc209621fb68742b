"""The zero-shot encoder: how near a picture is to phrases of anomalies. No torch."""
