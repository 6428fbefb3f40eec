"""From what was recognized to what is written: phrases to expect, and steps on texts and their words; no Triton."""
