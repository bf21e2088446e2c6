"""The parts of the Segment dock."""
