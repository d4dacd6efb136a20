"""Detection: the rule contract, the rules, and the grouping of matches into alerts. Does no I/O."""
