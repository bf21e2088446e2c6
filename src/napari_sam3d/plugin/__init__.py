"""The napari side: manifest contributions, the session and the dock widgets."""
