"""A network for one's own pictures: `convoscope train --data FOLDER --name mine`.

Read `session` first: it goes through a training from a folder to an artifact, step by step. `listing` finds the
pictures, `store` reads them, `duplicates` and `split` decide which are held out, `head` gives the first result, `fit`
trains until the time is up, `report` measures and `release` writes the artifact.
"""
