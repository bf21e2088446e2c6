"""Objects, what was said about them, and the layers that show them; knows no Qt."""
