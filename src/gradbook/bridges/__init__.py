"""Ways in for runs that are not ours, each a module that is imported by its name and needs its library only then."""
