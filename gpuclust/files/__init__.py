"""Files that appear whole or not at all, and that are refused where they are damaged: models and checkpoints."""
