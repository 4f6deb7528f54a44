"""Doors to other frameworks (torch, tree ensembles, Ray); each is optional and reached through the plug-in registry."""
