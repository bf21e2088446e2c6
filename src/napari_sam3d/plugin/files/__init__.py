"""What napari reads and writes by us: readers, writers, samples, dialogs."""
