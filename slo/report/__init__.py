"""What people read of a ledger afterwards: the report on a period, and the draft of a post-mortem. Text, no server.

| module | what it does |
|---|---|
| period.py | a month, a quarter or a span of time, in a time zone |
| budgets.py | each SLO's budget over the period, day by day; what was not watched; revisions |
| spenders.py | who spent beyond their traffic, over all SLOs |
| suspects.py | GPUs to replace and to look at, with the evidence |
| gather.py, telling.py, telling_hardware.py | all of it, read from a ledger and put into words |
| findings.py, at_risk.py, postmortem.py | the draft about one incident (slo.incident finds it) |
| document.py, html.py | headings, text and tables; as Markdown, as one HTML page |

What is told is read once, from one state of the ledger, also while a service writes on. Every figure is a sum that the
ledger gives again tomorrow. Imports slo's arithmetic, slo.ledger_reader, slo.page.text for figures in words.
"""
