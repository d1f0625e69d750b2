"""Tables of many methods: what was published, and what was measured here."""
