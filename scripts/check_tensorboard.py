"""Reads TensorBoard event files with TensorBoard itself and prints their scalars.

  python scripts/check_tensorboard.py FOLDER

Needs `pip install tensorboard` (read with 2.21). FOLDER holds events.out.tfevents.* as `detox-lab train` writes them.
"""
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

events = EventAccumulator(sys.argv[1])
events.Reload()
print("file version", events.file_version)
for tag in events.Tags()["scalars"]:
    for event in events.Scalars(tag):
        print(f"{event.wall_time:.3f} step {event.step} {tag} {event.value!r}")
