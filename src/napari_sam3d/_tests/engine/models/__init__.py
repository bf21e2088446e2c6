"""Tests of the model families and their blocks."""
