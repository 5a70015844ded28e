"""Files that tests make for themselves."""
