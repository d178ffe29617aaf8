"""What all packages stand on: errors, files, outputs, the console, words, the source digest."""
