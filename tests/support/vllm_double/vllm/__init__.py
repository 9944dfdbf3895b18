"""A DOUBLE of vLLM for machines without a GPU: its command lines and its compile cache, and no model."""
