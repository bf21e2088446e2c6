"""The thread that loads models and predicts."""
