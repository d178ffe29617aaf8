"""Runs an exported model in a process of its own, and compares what it finds with itself."""
