"""Training pipeline of jeffrey-edge, from a data folder to `models/<id>/` and the golden rows.

The entry point is `python -m training.run`. Each step is one module. Intermediate files are in
`training/work/`, one folder per step. Only `export.py`, `frontier.py`, `golden.py` and
`readings.py` write outside that folder.
"""
