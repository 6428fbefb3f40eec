"""One page from one command: every table and plot, measured now, side by side."""
