"""Picture files as bytes: reading them, their structure, their turn, their pixels."""
