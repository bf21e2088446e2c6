"""What can be wrong with labelled pairs, and with the machine that tunes on them."""
