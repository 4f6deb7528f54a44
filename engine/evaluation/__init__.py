"""How far explanations can be believed: methods and metrics over many inputs, with controls, resumed."""
