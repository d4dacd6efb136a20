"""The rules, one file each, with their test cases in YAML beside them."""
