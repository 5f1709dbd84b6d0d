"""The page of the SLO service: server-rendered, made live by a small script, asking no other host."""
