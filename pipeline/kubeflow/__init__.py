"""Kubeflow Pipelines: what runs in its containers, and its driver and launcher played here."""
