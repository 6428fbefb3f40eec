"""From what is recognized to what is written."""
