"""The graph of components, its runners, and the commands."""
