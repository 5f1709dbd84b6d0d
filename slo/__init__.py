"""The SLO service: spec → signal → ledger → budget, with its API and page.

Knows of the agent only its model, catalogue and page reader.
"""
