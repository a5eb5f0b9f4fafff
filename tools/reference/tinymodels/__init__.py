"""Tiny random Hugging Face models, their GGUF files and their reference logits."""
