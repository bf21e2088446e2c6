"""What the mouse does in the viewer, and what it shows there: clicks, boxes, strokes."""
