"""What is suspicious: the rule contract, the rules, and the law of grouping and telling. Pure."""
