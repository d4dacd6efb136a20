"""Settings: what an operator may say, and what is wrong with what was said."""
