"""How many components: from pooled samples, or from messages and scores alone (EVIDENCE 9)."""
