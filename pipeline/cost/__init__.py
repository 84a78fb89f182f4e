"""What the tokens cost."""
