"""`make rehearse`: the first day of a user, in real containers."""
