"""The seeds' own names, signatures and numbers, as thin calls of the blocks."""
