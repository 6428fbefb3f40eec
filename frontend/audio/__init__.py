"""Sound: reading, resampling, cutting at pauses, joining the texts, subtitles."""
