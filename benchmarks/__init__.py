"""What measures smcore, run from the root of a checkout; no part of the installed package."""
