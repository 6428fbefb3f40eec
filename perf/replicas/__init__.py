"""Several Tritons behind one frontend: what is lost where one is killed or drained, and how even the others are."""
