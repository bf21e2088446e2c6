"""The released formulations, written plainly: what the fast ones are timed and tested against."""
