"""Tests of few-shot tuning."""
