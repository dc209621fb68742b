"""Write the pictures of cameras into files as they come: `hhvad record`.

source.py     what a camera is: its name and address, and what of that may be shown
cutter.py     packets into files that begin with a key frame, named by the time of their first
child.py      the process of one camera: reads its packets, without decoding them
recorder.py   starts those processes, ends those that hang, starts them again
keeping.py    which recordings are deleted to stay within days or bytes
"""
