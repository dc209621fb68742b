"""Judge a folder of recordings as they come: `hhvad watch`.

folder.py   which files are new
reader.py   a thread per camera that decodes them ahead
watcher.py  the loop: segments of all cameras in fair turns to the model
life.py     from scores to smoothed scores and events that open, go on and close
journal.py  the append-only files that a restart goes on from
outputs.py  what tells others of each change of an event
metrics.py  numbers for Prometheus and the terminal
page.py     the viewer's page of the day
"""
