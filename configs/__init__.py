"""Settings and the few things every package shares: schema, loader, errors, console, files."""
