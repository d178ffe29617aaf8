"""What `predict` does around the model: which pictures, tiles of them, the journal, the files."""
