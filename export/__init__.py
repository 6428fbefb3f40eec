"""Everything that makes what the rooms load: never imported at serving time."""
