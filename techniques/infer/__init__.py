"""Ways of inferring."""
