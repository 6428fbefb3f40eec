"""Who may ask, and how much; how live sessions end in order."""
