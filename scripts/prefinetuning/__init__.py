"""The texts and the training of the adapter at which trainings start (`loop.training.prefinetuned`)."""
