"""The training loop that training techniques share."""
