"""More work than there are hands: what is still done, and how quickly the rest is told so."""
