"""`make audit`: what is installed, against advisories that are known."""
