"""The model that label-studio-ml serves: this project's tagger. The environment says what it serves (see README.md)."""

from ml_backend.label_studio_ml_model import NerTagger

__all__ = ["NerTagger"]
