"""Geometry, matching, sampling, suppression and pooling: tensor functions without weights."""
