"""Kind "prompt": a language model behind an OpenAI-compatible address, and what its answers are worth."""
