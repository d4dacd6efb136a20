"""One pipeline, page in, transaction out; and the ways to get pages."""
