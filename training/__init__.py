"""Training pipeline of jeffrey-edge: from a data folder to `models/<id>/` and the golden rows.

Enters by `python -m training.run`; one module a step, each with its own folder under
`training/work/`. Only `export.py`, `frontier.py` and `golden.py` write outside that folder.
"""
