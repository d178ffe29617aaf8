"""Talks to the REST API of Kubeflow Pipelines (v2beta1): pipelines, runs and schedules.

The two lanes have clients of different releases, and neither waits a limited time, tries again or
looks before it sends something twice. So this is a small layer over requests of our own; messages
are those of backend/api/v2beta1/*.proto, in fields that KFP 2.0 knows already.
"""
