"""Prediction on many pictures by Beam: RunInference on any of its runners."""
