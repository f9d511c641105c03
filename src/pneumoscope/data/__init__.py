"""Films: from bytes and folders to splits, pixels and augmented batches."""
