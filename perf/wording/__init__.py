"""From what is recognized to what is written: right, and at what cost."""
