"""Runs the pipeline on several hosts over ssh."""
